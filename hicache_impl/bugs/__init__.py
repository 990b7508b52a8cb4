"""Planted bugs: variants of our own cache, each with one mistake that somebody has made before."""

from hicache_impl.bugs.bank import BANK, UnknownBug, find, quick_under
from hicache_impl.bugs.bug import Bug

__all__ = ["BANK", "Bug", "UnknownBug", "find", "quick_under"]
