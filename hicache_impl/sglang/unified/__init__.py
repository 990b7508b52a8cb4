"""The adapter to UnifiedRadixCache: one radix tree with components, host tier, pluggable core."""
