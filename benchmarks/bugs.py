"""How long it takes to find each planted bug: our random source, and a plain Hypothesis machine.

Both run in this process, from the first example to the first divergence; neither minimizes. What is
counted is CPU time, so that other load on the machine changes little.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any, ClassVar
from unittest.mock import patch

from benchmarks.sessions import new_journal
from benchmarks.stand_ins import Counter, naive_like
from benchmarks.tables import Column, Table, Value
from hicache_impl.bugs import BANK, Bug, find
from hicache_impl.target import TargetFactory
from hicache_verify.campaigns.cells import Cell
from hicache_verify.campaigns.planted import cell_of
from hicache_verify.divergence import Divergence
from hicache_verify.session import Session, TimeIsUp
from hicache_verify.sources import hypothesis_source
from hicache_verify.sources.hypothesis_source import run_hypothesis
from hicache_verify.sources.random_source import run_random
from hicache_verify.workers.messages import Leg
from stateful_tests.machines import MACHINES, CacheMachine

COLUMNS = (
    Column("bug", "planted bug"),
    Column("law", "law broken"),
    Column("found", "found", "{}"),
    Column("seconds", "CPU seconds", "{:.3f}"),
    Column("peer_found", "the plain peer: found", "{}"),
    Column("peer_seconds", "its seconds", "{:.3f}"),
    Column("ratio", "times as long", "{:.1f}"),
)

Seconds = float | None

PATIENCE = 10
"""By the clock a search may take so many times its seconds of CPU before it is given up."""


class Seen(Exception):
    """A divergence was reported."""


def ours(bug: Bug, cell: Cell, seed: int, cap: float) -> Seconds:
    """Seconds until the random source meets the bug; None where ``cap`` seconds are not enough."""
    began, deadline = time.process_time(), time.monotonic() + PATIENCE * cap
    leg = Leg(cell, "random", seed=seed, examples=None, seconds=cap, first=True)
    session = Session(
        bug.factory(), new_journal(), leg, send=_seen, minimize=_seen, deadline=deadline
    )
    try:
        run_random(session, cell, seed=seed, examples=None, deadline=deadline)
    except Seen:
        return _in_time(time.process_time() - began, cap)
    except TimeIsUp:
        pass
    return None


def _in_time(seconds: Seconds, cap: float) -> Seconds:
    return seconds if seconds is not None and seconds <= cap else None


def _seen(*what: object) -> Any:
    raise Seen


class Watch(Counter):
    """In the place of a session: notes when the first example failed."""

    def __init__(self, factory: TargetFactory, cap: float) -> None:
        super().__init__(factory)
        self.began = time.process_time()
        self.cap = cap
        self.seconds: Seconds = None

    def note(self) -> None:
        if self.seconds is None:
            self.seconds = time.process_time() - self.began

    def stop(self) -> bool:
        return self.seconds is not None or time.process_time() >= self.began + self.cap


def noting(machine: type[CacheMachine]) -> type[CacheMachine]:
    """The plain peer, which fails an example at its first divergence, and tells its ``Watch``."""
    naive: Any = naive_like(machine)

    class Noting(naive):  # type: ignore[misc]
        counter: ClassVar[Watch]

        def _fail(self, found: Divergence | None) -> None:
            if found is not None:
                self.counter.note()
            super()._fail(found)

    return Noting


def peer(bug: Bug, cell: Cell, seed: int, cap: float) -> Seconds:
    """The same for Hypothesis, with everything observed afresh and judged after each step."""
    deadline = time.monotonic() + PATIENCE * cap
    watch: Any = Watch(bug.factory(trusting=False), cap)
    with patch.object(hypothesis_source, "MACHINES", [noting(machine) for machine in MACHINES]):
        run_hypothesis(watch, cell, seed=seed, examples=None, deadline=deadline)
    return _in_time(watch.seconds, cap)


def table(names: Sequence[str], seeds: int, cap: float, say: Callable[[str], None]) -> Table:
    """Of the bugs named, of all where none is; both sides meet the same bugs in turn."""
    rows = []
    for bug in map(find, names or BANK):
        cell = cell_of(bug)
        times = [(ours(bug, cell, seed, cap), peer(bug, cell, seed, cap)) for seed in range(seeds)]
        rows.append(row(bug, [mine for mine, _ in times], [its for _, its in times]))
        say(" ".join(column.show(value) for column, value in zip(COLUMNS, rows[-1], strict=True)))
    title = f"Time to find each planted bug, median over {seeds} seeds"
    return Table(title, COLUMNS, tuple(rows), _notes(cap))


def row(bug: Bug, mine: Sequence[Seconds], its: Sequence[Seconds]) -> tuple[Value, ...]:
    own, other = middle(mine), middle(its)
    ratio = other / own if own and other else None
    return bug.identifier, bug.law, _found(mine), own, _found(its), other, ratio


def middle(times: Sequence[Seconds]) -> Seconds:
    """The median, where what was not found took for ever; None where that is for ever."""
    found = median([float("inf") if seconds is None else seconds for seconds in times])
    return None if found == float("inf") else found


def _found(times: Sequence[Seconds]) -> str:
    return f"{sum(seconds is not None for seconds in times)} of {len(times)}"


def _notes(cap: float) -> tuple[str, ...]:
    return (
        f"Each search ends after {cap:g} seconds of CPU; `-` is a median beyond that.",
        "The plain peer: Hypothesis; all is observed, compared and judged after each step.",
        "Starting a process, opening the target and minimizing are left out on both sides.",
    )
