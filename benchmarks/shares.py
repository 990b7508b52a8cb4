"""Where the time of a lockstep goes: the shares of its parts, none counted twice.

The wall clock, because it is read some twenty times an operation and a process's own clock is slow.
"""

from __future__ import annotations

import functools
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, TypeVar
from unittest.mock import patch

from benchmarks.growth import Forest, number_of_steps
from benchmarks.sessions import Measured
from benchmarks.tables import Column, Table, Value, name_of
from hicache_impl.native.target import NativeFactory, NativeTarget
from hicache_impl.sglang.hiradix import HiRadixFactory, HiRadixTarget
from hicache_impl.sglang.unified.target import UnifiedFactory, UnifiedTarget
from hicache_impl.target import TargetFactory
from hicache_model.reference import Reference
from hicache_verify.campaigns.cells import Cell
from hicache_verify.compare import QuickCompare
from hicache_verify.lockstep import Lockstep
from hicache_verify.menu import Menu
from hicache_verify.sources.hypothesis_source import run_hypothesis
from hicache_verify.sources.random_source import run_random
from hicache_verify.targets import dialect_of
from hicache_verify.workers.journal import Journal

T = TypeVar("T")

BUILDING, TARGET, OBSERVATION = "building caches", "target", "observation"
MODEL, QUICK, FULL = "model", "quick comparison", "laws and full comparison"
MENU, JOURNAL, STEPPING, SOURCE = "menu", "journal", "stepping", "the source itself"
ORDER = (BUILDING, TARGET, OBSERVATION, MODEL, QUICK, FULL, MENU, JOURNAL, STEPPING, SOURCE)

PARTS: tuple[tuple[str, type[Any], tuple[str, ...]], ...] = (
    (BUILDING, HiRadixFactory, ("build",)),
    (TARGET, HiRadixTarget, ("perform",)),
    (OBSERVATION, HiRadixTarget, ("observe", "observe_at")),
    (BUILDING, UnifiedFactory, ("build",)),
    (TARGET, UnifiedTarget, ("perform",)),
    (OBSERVATION, UnifiedTarget, ("observe", "observe_at")),
    (BUILDING, NativeFactory, ("build",)),
    (TARGET, NativeTarget, ("perform",)),
    (OBSERVATION, NativeTarget, ("observe", "observe_at")),
    (MODEL, Reference, ("apply", "take_stale")),
    (QUICK, QuickCompare, ("looks_equal",)),
    (FULL, Lockstep, ("_agrees_fully",)),
    (MENU, Menu, ("draw", "draw_of", "offers")),
    (JOURNAL, Journal, ("begin", "perform", "performed", "phase")),
    (STEPPING, Lockstep, ("__init__", "step", "finish")),
)


class Stopwatch:
    """Counts each moment for the innermost part that runs."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._running = [SOURCE]
        self._since = time.perf_counter()

    def _turn(self) -> None:
        now = time.perf_counter()
        self.seconds[self._running[-1]] += now - self._since
        self._since = now

    @contextmanager
    def running(self) -> Iterator[None]:
        """With all parts watched; what none of them does counts for the source."""
        with ExitStack() as patches:
            for part, owner, names in PARTS:
                for name in names:
                    watched = self.watch(part, getattr(owner, name))
                    patches.enter_context(patch.object(owner, name, watched))
            self._since = time.perf_counter()
            yield
            self._turn()

    def watch(self, part: str, function: Callable[..., T]) -> Callable[..., T]:
        @functools.wraps(function)
        def watched(*arguments: Any, **named: Any) -> T:
            if self._running[-1] == part:
                return function(*arguments, **named)
            self._turn()
            self._running.append(part)
            try:
                return function(*arguments, **named)
            finally:
                self._turn()
                self._running.pop()

        return watched

    def shares(self) -> dict[str, float]:
        total = sum(self.seconds.values())
        return {part: self.seconds[part] / total for part in ORDER}


def table(
    factory: TargetFactory, cell: Cell, examples: int, nodes: int, say: Callable[[str], None]
) -> Table:
    runs: tuple[tuple[str, str, Callable[[], dict[str, float]]], ...] = (
        ("random", "random source", lambda: of_source(factory, cell, run_random, examples)),
        ("hypothesis", "Hypothesis", lambda: of_source(factory, cell, run_hypothesis, examples)),
        ("large", f"a tree of {nodes:,}", lambda: of_tree(factory, cell, nodes)),
    )
    columns, found = [Column("part", "part")], []
    for key, heading, run in runs:
        say(f"where the time goes: {heading}")
        columns.append(Column(key, heading, "{:.1%}"))
        found.append(run())
    rows: tuple[tuple[Value, ...], ...] = tuple(
        (part, *(shares[part] for shares in found)) for part in ORDER
    )
    title = f"Where the time goes: lockstep on {name_of(factory)}, {cell}"
    note = "Shares of the time, none counted twice. Watching itself takes a few percent."
    return Table(title, tuple(columns), rows, (note,))


def of_source(
    factory: TargetFactory, cell: Cell, run: Callable[..., None], examples: int
) -> dict[str, float]:
    session, watch = Measured(factory, cell), Stopwatch()
    with watch.running():
        run(session, cell, seed=0, examples=examples, deadline=None)
        session.end()
    return watch.shares()


def of_tree(factory: TargetFactory, cell: Cell, nodes: int) -> dict[str, float]:
    """The steps of ``growth``, without what it takes to build the tree."""
    forest, watch = Forest(nodes, cell.write_policy, dialect_of(factory.description)), Stopwatch()
    fill = forest.fill()
    steps = forest.steps(number_of_steps(nodes))
    lockstep = Lockstep(factory, fill.configuration, exact=False)
    for operation in fill.operations:
        lockstep.step(operation)
    with watch.running():
        for operation in steps.operations:
            lockstep.step(operation)
    return watch.shares()
