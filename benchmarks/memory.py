"""Whether a long run stays as large as it was: resident memory at every tenth of it."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from itertools import cycle

import psutil

from benchmarks.sessions import Measured
from benchmarks.tables import Column, Table, name_of
from hicache_impl.target import TargetFactory
from hicache_verify.campaigns.cells import Cell
from hicache_verify.sources.hypothesis_source import run_hypothesis
from hicache_verify.sources.random_source import run_random

PARTS, BATCH = 10, 30
SOURCES = (("random", run_random), ("Hypothesis", run_hypothesis))

COLUMNS = (
    Column("operations", "operations", "{:,}"),
    Column("source", "source"),
    Column("mebibytes", "resident, MiB", "{:,.1f}"),
    Column("growth", "since both have run, MiB", "{:+,.1f}"),
    Column("seconds", "CPU seconds", "{:,.0f}"),
)


def table(factory: TargetFactory, cell: Cell, operations: int, say: Callable[[str], None]) -> Table:
    """One session, as a campaign keeps one; the sources take turns, as they do in a campaign."""
    session, sizes, rows = Measured(factory, cell), [], []
    for part, (name, run) in zip(range(1, PARTS + 1), cycle(SOURCES), strict=False):
        while session.journal.operations < operations * part // PARTS:
            run(session, cell, seed=session.journal.examples, examples=BATCH, deadline=None)
            session.end()
        sizes.append(resident())
        done, now = session.journal.operations, time.process_time()
        rows.append((done, name, sizes[-1], sizes[-1] - sizes[1] if part > 1 else None, now))
        say(f"{done:,} operations: {sizes[-1]:.1f} MiB")
    title = f"Memory: {name_of(factory)}, {cell}"
    note = "One session, after a garbage collection at each tenth; the sources take turns."
    return Table(title, COLUMNS, tuple(rows), (note,))


def resident() -> float:
    """Mebibytes of this process that are in memory."""
    gc.collect()
    return float(psutil.Process().memory_info().rss) / (1 << 20)
