"""Whether a long run stays as large as it was: resident memory at every tenth of it."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable

import psutil

from benchmarks.sessions import Measured
from benchmarks.tables import Column, Table
from hicache_impl.target import TargetFactory
from hicache_verify.cells import Cell
from hicache_verify.sources.hypothesis_source import run_hypothesis
from hicache_verify.sources.random_source import run_random

PARTS = 10
SOURCES = (("random", run_random), ("Hypothesis", run_hypothesis))

COLUMNS = (
    Column("operations", "operations", "{:,}"),
    Column("source", "source"),
    Column("mebibytes", "resident, MiB", "{:,.1f}"),
    Column("growth", "since the first tenth, MiB", "{:+,.1f}"),
    Column("seconds", "CPU seconds", "{:,.0f}"),
)


def table(factory: TargetFactory, cell: Cell, operations: int, say: Callable[[str], None]) -> Table:
    """One session, as a campaign keeps one; the sources take turns, as they do in a campaign."""
    marks: list[int] = [0]
    session = Measured(factory, cell, until=lambda done: done >= marks[-1])
    rows: list[tuple[int | str | float | None, ...]] = []
    for part in range(1, PARTS + 1):
        marks.append(operations * part // PARTS)
        name, run = SOURCES[(part - 1) % len(SOURCES)]
        run(session, cell, seed=part, examples=None, deadline=None)
        session.end()
        now = resident()
        growth = now - rows[0][2] if rows else 0.0  # type: ignore[operator]
        rows.append((session.journal.operations, name, now, growth, time.process_time()))
        say(f"{session.journal.operations:,} operations: {now:.1f} MiB")
    title = f"Memory: sglang {factory.description.release}, {cell}"
    note = "One session, after a garbage collection at each tenth; the sources take turns."
    return Table(title, COLUMNS, tuple(rows), (note,))


def resident() -> float:
    """Mebibytes of this process that are in memory."""
    gc.collect()
    return float(psutil.Process().memory_info().rss) / (1 << 20)
