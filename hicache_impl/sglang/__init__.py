"""The real SGLang caches, loaded unmodified and without a GPU."""
