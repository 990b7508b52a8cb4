"""The eviction policies: a key for each node, and the node with the least key goes first.

One contract for the model, for laws and for caches: a policy reads six counters and nothing else.
Meaning and names are those of SGLang's ``mem_cache/evict_policy.py`` (same in 0.5.9 to 0.5.23; slru
from 0.5.10, tlru from 0.5.21). Times of last access are unique, and break ties of creation: in
UnifiedRadixCache both halves of a split are as old as the node was.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Protocol, TypeAlias

SLRU_PROTECTED_HITS = 2

TLRU_THRESHOLD, TLRU_ESTIMATE = 3, 1
"""In pages, as in its paper; the server's defaults of 0 and 0 would make it lru."""


class Counters(Protocol):
    """What a policy may read of a node: hits, ticks of last access and creation, and priority.

    ``start`` is the number of tokens above it, and ``reach`` the longest that its path, with what
    hung below it, ever was.
    """

    @property
    def hit_count(self) -> int: ...
    @property
    def last_access(self) -> int: ...
    @property
    def creation(self) -> int: ...
    @property
    def priority(self) -> int: ...
    @property
    def start(self) -> int: ...
    @property
    def reach(self) -> int: ...


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


def tlru(node: Counters, page_size: int = 1) -> tuple[int, ...]:
    """Tail-optimized LRU (arXiv:2510.15152): first what a next prompt can do without.

    That is what begins at the end of all that its conversation ever was, or in the pages before it.
    """
    needed = node.reach - (TLRU_THRESHOLD - TLRU_ESTIMATE) * page_size
    return (int(node.start < needed), node.last_access)


POLICIES: Mapping[str, Policy] = {
    policy.__name__: policy for policy in (lru, lfu, fifo, mru, filo, priority, slru, tlru)
}


# -- your own --------------------------------------------------------------------------------------
#
# Named by where its code is, FILE.py:NAME or MODULE:NAME. A name is data and may stand in a trace;
# the function is known to a process once somebody has added it there.

_OWN_NAME = re.compile(r"[^\s:,]+:[A-Za-z_]\w*")
_own: dict[str, Policy] = {}


class UnknownPolicy(ValueError):
    """No policy has this name, or its code was not given to this process."""


class BadPolicy(ValueError):
    """A policy of your own raised, or gave what is no key."""


def is_own_name(name: str) -> bool:
    """Whether it names code and not one of ``POLICIES``."""
    return len(name) <= 256 and _OWN_NAME.fullmatch(name) is not None


def add_own(name: str, function: Callable[[Counters], int | tuple[int, ...]]) -> None:
    """Make a policy known by ``name``. Of two nodes with equal keys the older one goes first."""

    def policy(node: Counters) -> tuple[int, ...]:
        try:
            key = function(node)
        except Exception as error:
            raise BadPolicy(f"{name} raised {type(error).__name__}: {error}") from error
        numbers = key if isinstance(key, tuple) else (key,)
        if not all(type(number) is int for number in numbers):
            raise BadPolicy(f"{name} gave {key!r:.60}, not an integer or a tuple of integers")
        return (*numbers, node.creation)

    _own[name] = policy


def named(name: str, page_size: int = 1) -> Policy:
    """The policy of this name; UnknownPolicy where there is none."""
    if name == tlru.__name__:
        return partial(tlru, page_size=page_size)
    found = POLICIES.get(name) or _own.get(name)
    if found is None:
        hint = f"code that was not given; add --eviction-policy {name}"
        raise UnknownPolicy(f"eviction policy {name!r:.80} is {hint}")
    return found
