"""The eviction policies: a key for each node, and the node with the least key goes first.

One contract for the model, for laws and for caches: a policy reads four counters and nothing else.
Meaning and names are those of SGLang's ``mem_cache/evict_policy.py`` (same in 0.5.9 to 0.5.20; slru
from 0.5.10). Times of last access are unique, and break ties of creation: in UnifiedRadixCache both
halves of a split are as old as the node was.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol, TypeAlias

SLRU_PROTECTED_HITS = 2


class Counters(Protocol):
    """What a policy may read of a node: hits, ticks of last access and creation, and priority."""

    @property
    def hit_count(self) -> int: ...
    @property
    def last_access(self) -> int: ...
    @property
    def creation(self) -> int: ...
    @property
    def priority(self) -> int: ...


Policy: TypeAlias = Callable[[Counters], tuple[int, ...]]


def lru(node: Counters) -> tuple[int, ...]:
    """Least recently used."""
    return (node.last_access,)


def mru(node: Counters) -> tuple[int, ...]:
    """Most recently used."""
    return (-node.last_access,)


def fifo(node: Counters) -> tuple[int, ...]:
    """First created."""
    return (node.creation, node.last_access)


def filo(node: Counters) -> tuple[int, ...]:
    """Last created."""
    return (-node.creation, node.last_access)


def lfu(node: Counters) -> tuple[int, ...]:
    """Least often hit, then least recently used."""
    return (node.hit_count, node.last_access)


def priority(node: Counters) -> tuple[int, ...]:
    """Lowest priority, then least recently used."""
    return (node.priority, node.last_access)


def slru(node: Counters) -> tuple[int, ...]:
    """Segmented LRU: nodes hit less than twice first, each segment least recently used."""
    return (int(node.hit_count >= SLRU_PROTECTED_HITS), node.last_access)


POLICIES: Mapping[str, Policy] = {
    policy.__name__: policy for policy in (lru, lfu, fifo, mru, filo, priority, slru)
}
