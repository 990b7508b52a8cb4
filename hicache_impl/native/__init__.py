"""A hierarchical KV cache of our own, on torch: a library, and a target to verify and to break."""

from hicache_impl.native.cache import HierarchicalCache, Match
from hicache_impl.native.kv import index_of
from hicache_impl.native.parts import Kinds
from hicache_impl.native.requests import NoRoom, Running, Scheduler
from hicache_impl.native.settings import Settings

__all__ = [
    "HierarchicalCache",
    "Kinds",
    "Match",
    "NoRoom",
    "Running",
    "Scheduler",
    "Settings",
    "index_of",
]
