"""How long the command line takes to find issue #19212 from nothing, over several seeds."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from statistics import median
from typing import Any

from benchmarks.tables import Column, Table, Value

RELEASE, WRITE_POLICY, LAW = "0.5.10.post1", "write_back", "host-leaves"
SEEDS = 10
GRACE = 60

COLUMNS = (
    Column("seed", "seed"),
    Column("law", "found first"),
    Column("found_after", f"{LAW} after, operations", "{:,}"),
    Column("seconds", "seconds", "{:.1f}"),
    Column("length", "shortest trace", "{} operations"),
)


def command(seed: int, budget: float, out: str) -> list[str]:
    options = {
        "--release": RELEASE,
        "--write-policy": WRITE_POLICY,
        "--budget": f"{budget:g}",
        "--seed": str(seed),
        "--workers": "1",
        "--out": out,
    }
    words = [word for option in options.items() for word in option]
    return [sys.executable, "-m", "hicache_verify", "run", *words, "--json"]


def table(seeds: int, budget: float, say: Callable[[str], None]) -> Table:
    rows = []
    for seed in range(1, seeds + 1):
        rows.append(row(seed, run(seed, budget)))
        say(f"seed {seed}: {rows[-1][2]} operations, {rows[-1][3]} seconds")
    found = [each for each in rows if each[2] is not None]
    title = f"Time to find #19212: sglang {RELEASE}, {WRITE_POLICY}"
    return Table(title, COLUMNS, tuple(rows), _notes(found, len(rows), budget))


def run(seed: int, budget: float) -> dict[str, Any]:
    """The report of one run, not stopped at its first finding: the release has other defects."""
    with tempfile.TemporaryDirectory() as out:
        finished = subprocess.run(
            command(seed, budget, out),
            check=False,
            stdout=subprocess.PIPE,
            text=True,
            timeout=budget + GRACE,
        )
    report: dict[str, Any] = json.loads(finished.stdout)
    return report


def row(seed: int, report: dict[str, Any]) -> tuple[Value, ...]:
    divergences = report["divergences"]
    first = divergences[0]["law"] if divergences else "nothing"
    for divergence in divergences:
        if divergence["law"] == LAW:
            after = divergence["found_after"]
            return seed, first, after["operations"], after["seconds"], divergence["operations"]
    return seed, first, None, None, None


def _notes(found: list[tuple[Value, ...]], seeds: int, budget: float) -> tuple[str, ...]:
    notes = [f"Found in {len(found)} of {seeds} runs with a budget of {budget:g} seconds each."]
    if found:
        operations, seconds = (median(_number(row[i]) for row in found) for i in (2, 3))
        notes.append(f"Median: {operations:,.0f} operations, {seconds:.1f} seconds.")
    notes.append(
        "Seconds are counted from the start of the run, so they hold what was found and minimized "
        "before; a command needs a few more to start Python and torch."
    )
    return tuple(notes)


def _number(value: Value) -> float:
    assert isinstance(value, (int, float))
    return value
