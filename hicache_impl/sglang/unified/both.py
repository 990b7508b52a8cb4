"""Both tree cores of one release, side by side in this process.

Each has a cache of its own. What the release counts for a whole process (ticks, ids) each finds at
its turn as it left it, so that it does exactly what it does alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import attrs

from hicache_impl.sglang.loader import Loaded
from hicache_impl.sglang.unified.build import CORES, PYTHON_CORE, counters
from hicache_impl.sglang.unified.target import UnifiedFactory, UnifiedTarget
from hicache_impl.target import Description
from hicache_model.configuration import Configuration
from hicache_model.operations import Operation
from hicache_model.outcomes import Outcome
from hicache_model.snapshot import Path, Snapshot

NAME = "sglang-unified-both"

T = TypeVar("T")


class TakingTurns:
    """A target whose process has another one too."""

    def __init__(self, target: UnifiedTarget, counters: tuple[tuple[Any, str], ...]) -> None:
        self.configuration = target.configuration
        self._target = target
        self._counters = counters
        self._left_at = self._read()

    def perform(self, operation: Operation) -> Outcome:
        return self._at_its_turn(lambda: self._target.perform(operation))

    def observe(self) -> Snapshot:
        return self._at_its_turn(self._target.observe)

    def observe_at(self, paths: Iterable[Path]) -> Snapshot:
        return self._at_its_turn(lambda: self._target.observe_at(paths))

    def own_check(self) -> tuple[str, ...]:
        return self._at_its_turn(self._target.own_check)

    def _at_its_turn(self, act: Callable[[], T]) -> T:
        for (owner, name), value in zip(self._counters, self._left_at, strict=True):
            setattr(owner, name, value)
        try:
            return act()
        finally:
            self._left_at = self._read()

    def _read(self) -> list[Any]:
        return [getattr(owner, name) for owner, name in self._counters]


@attrs.define(frozen=True, slots=True)
class OneOfBoth:
    """Makes the targets of one core."""

    factory: UnifiedFactory

    @property
    def description(self) -> Description:
        return self.factory.description

    def build(self, configuration: Configuration) -> TakingTurns:
        return TakingTurns(self.factory.build(configuration), counters(self.factory.loaded))


@attrs.define(frozen=True, slots=True)
class BothFactory:
    """Implements hicache_impl.target.SideBySide; WrongCore where a core cannot be loaded."""

    loaded: Loaded
    members: Mapping[str, OneOfBoth] = attrs.field(init=False)

    @members.default
    def _make_members(self) -> Mapping[str, OneOfBoth]:
        return {core: OneOfBoth(UnifiedFactory(self.loaded, core)) for core in CORES}

    @property
    def description(self) -> Description:
        """The Python core's, which shows everything, under a name of their own."""
        members = {core: factory.description for core, factory in self.members.items()}
        return attrs.evolve(members[PYTHON_CORE], target=NAME, members=members)
