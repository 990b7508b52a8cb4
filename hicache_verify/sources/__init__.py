"""Sources of operations, each one small file over the same menu."""
