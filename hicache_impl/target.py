"""The interface of a cache under test. Whoever implements it can be verified.

A target is hostile: ``perform`` may raise anything, loop, or end the process. Everything else about
it (deadlines, journals, minimizing) is the engine's business.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol, TypeAlias, runtime_checkable

import attrs

from hicache_model.configuration import Configuration
from hicache_model.operations import Operation
from hicache_model.outcomes import Outcome
from hicache_model.snapshot import Boundary, Path, Snapshot


@attrs.define(frozen=True, slots=True)
class Description:
    """What a target is: shown in reports and written into traces.

    ``eviction_policies`` are those that the target knows. ``host_may_be_smaller`` says whether the
    host pool may be no larger than the device pool. ``cache`` is the kind of cache: ``hiradix`` or
    ``unified``. ``bug`` names what was planted in it, if something was. ``unobserved`` are the
    names, of hicache_model.observations, of what its snapshots do not show. ``components`` are the
    components that it can be built with, ``strips_thinking`` says whether it can be built with
    ``strip_thinking``, ``bigram`` whether with keys of pairs. ``members`` describe the caches of
    ``SideBySide``, by name.
    """

    target: str
    release: str
    origin: str
    eviction_policies: tuple[str, ...]
    host_may_be_smaller: bool = True
    cache: str = "hiradix"
    bug: str | None = None
    unobserved: tuple[str, ...] = ()
    components: tuple[str, ...] = ("full",)
    strips_thinking: bool = False
    bigram: bool = False
    members: Mapping[str, Description] = attrs.field(factory=dict, hash=False)


class Target(Protocol):
    """One cache instance, freshly built from a configuration."""

    configuration: Configuration

    def perform(self, operation: Operation) -> Outcome:
        """Do it to the cache and say what it answered; whatever the cache raises comes through."""

    def observe(self) -> Snapshot:
        """The complete state, without changing it."""

    def observe_at(self, paths: Iterable[Path]) -> Snapshot:
        """The state of the nodes with these paths (None where there is none) and all the totals.

        Costs in proportion to the nodes asked for; ``complete`` is false.
        """


class ChecksItself(Protocol):
    """A target whose cache has a check of its own invariants.

    It is told by the name of its method, as ``isinstance`` takes longer than an operation may.
    """

    def own_check(self) -> tuple[str, ...]:
        """What that check finds wrong, a line each; changes nothing."""


class WorksInSteps(Protocol):
    """A target that can be looked at between the steps of one operation; told like the former."""

    def watch_steps(self, seen: list[Boundary] | None) -> None:
        """From now on note each boundary between two steps in ``seen``; None: no more."""


class TargetFactory(Protocol):
    """Makes targets of one kind in this process."""

    @property
    def description(self) -> Description: ...

    def build(self, configuration: Configuration) -> Target:
        """A fresh cache; ValueError for a configuration that the release refuses."""


@runtime_checkable
class SideBySide(Protocol):
    """Two implementations of one cache, which are run side by side on the same operations."""

    @property
    def description(self) -> Description: ...

    @property
    def members(self) -> Mapping[str, TargetFactory]:
        """By name; caches of both can live in this process at the same time."""


AnyFactory: TypeAlias = TargetFactory | SideBySide
