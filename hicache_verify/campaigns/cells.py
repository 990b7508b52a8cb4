"""Cells: the combinations of write policy, page size and eviction policy that a run explores."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Protocol

import attrs

from hicache_impl.target import Description
from hicache_model.configuration import EVICTION_POLICIES, WRITE_POLICIES, Configuration
from hicache_model.policies import is_own_name

ALL = "all"
MAX_CELLS = 1024
MAX_PAGE_SIZE = 1024


class BadCell(ValueError):
    """A policy or a page size was asked for that does not exist here."""


@attrs.define(frozen=True, slots=True, order=True)
class Cell:
    """One combination; what else a configuration has is chosen by the source of operations."""

    write_policy: str
    page_size: int
    eviction_policy: str
    component: str = "full"
    strip_thinking: bool = False
    bigram: bool = False

    @classmethod
    def of(cls, configuration: Configuration) -> Cell:
        return cls(*(getattr(configuration, field.name) for field in attrs.fields(cls)))

    def __str__(self) -> str:
        words = [self.write_policy, f"page size {self.page_size}", self.eviction_policy]
        words += [] if self.component == "full" else [f"with {self.component}"]
        return ", ".join([*words, *kind_of(self)])


class Kind(Protocol):
    """What has, or asks for, a kind of requests and of keys."""

    @property
    def strip_thinking(self) -> bool: ...

    @property
    def bigram(self) -> bool: ...


def kind_of(cache: Kind) -> list[str]:
    """What of it is not as usual, in words."""
    return ["thoughts stripped"] * cache.strip_thinking + ["keys of pairs"] * cache.bigram


@attrs.define(frozen=True, slots=True)
class Selection:
    """What was asked for; ``("all",)`` stands for everything that the target knows.

    Raises BadCell for what no target knows.
    """

    write_policies: tuple[str, ...] = ("write_back",)
    page_sizes: tuple[int, ...] = (1,)
    eviction_policies: tuple[str, ...] = ("lru",)
    component: str = "full"
    strip_thinking: bool = False
    bigram: bool = False

    def __attrs_post_init__(self) -> None:
        _choose("write policy", self.write_policies, WRITE_POLICIES, "known are")
        known = (*EVICTION_POLICIES, *self.own_policies)
        _choose("eviction policy", self.eviction_policies, known, "known are")
        for size in self.page_sizes:
            if not 1 <= size <= MAX_PAGE_SIZE:
                raise BadCell(f"page size {size} is not in 1..{MAX_PAGE_SIZE}")
        if self.bigram and self.component == "mamba":
            raise BadCell("with --component mamba keys are tokens: leave out --bigram")

    @property
    def own_policies(self) -> tuple[str, ...]:
        """Those that are code of the user's."""
        return tuple(filter(is_own_name, self.eviction_policies))

    def expand(self, target: Description) -> tuple[Cell, ...]:
        """The cells, in the order asked for; BadCell for a policy that the target does not know."""
        write = _choose("write policy", self.write_policies, WRITE_POLICIES, "known are")
        known = tuple(p for p in EVICTION_POLICIES if p in target.eviction_policies)
        known += tuple(filter(is_own_name, target.eviction_policies))
        release = f"{target.target} {target.release} has"
        eviction = _choose("eviction policy", self.eviction_policies, known, release)
        (component,) = _choose("component", (self.component,), target.components, release)
        if self.strip_thinking and not target.strips_thinking:
            raise BadCell(f"{target.target} {target.release} cannot strip thoughts")
        if self.bigram and not target.bigram:
            raise BadCell(f"{target.target} {target.release} has no keys of pairs (--bigram)")
        beside = (component,), (self.strip_thinking,), (self.bigram,)
        product = itertools.product(write, self.page_sizes, eviction, *beside)
        cells = tuple(itertools.starmap(Cell, product))
        if not 0 < len(cells) <= MAX_CELLS:
            raise BadCell(f"{len(cells)} combinations; a run takes 1 to {MAX_CELLS}")
        return cells

    def left_out(self, target: Description) -> tuple[str, ...]:
        """The eviction policies that ``all`` leaves out because the target lacks them."""
        if ALL not in self.eviction_policies:
            return ()
        return tuple(p for p in EVICTION_POLICIES if p not in target.eviction_policies)


def _choose(what: str, asked: Iterable[str], known: tuple[str, ...], who: str) -> tuple[str, ...]:
    if ALL in asked:
        return known
    for name in asked:
        if name not in known:
            raise BadCell(f"unknown {what} {name!r:.60}; {who} {', '.join(known)} (or all)")
    return tuple(dict.fromkeys(asked))
