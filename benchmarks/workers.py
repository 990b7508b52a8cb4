"""``python -m benchmarks.workers``: campaigns with several workers beside campaigns with one."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

import attrs
import click
from rich.console import Console

from benchmarks.tables import Column, Table

GRACE = 180
"""Seconds for starting Python and torch, and for whatever else the machine does."""

TARGETS = {"native": ("--target", "native"), "sglang": ("--release", "0.5.18")}
COLUMNS = (
    Column("workers", "workers", "{}"),
    Column("operations", "operations", "{:,}"),
    Column("per_second", "operations a second", "{:,.0f}"),
    Column("ratio", "times one worker", "{:.2f}"),
)


@attrs.frozen
class Sample:
    """One campaign: what it did while it explored; opening the target is not counted."""

    operations: int
    seconds: float

    @property
    def rate(self) -> float:
        return self.operations / self.seconds


@click.command(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.option(
    "--workers",
    multiple=True,
    type=click.IntRange(1),
    default=(1, 2),
    help="Each is compared with the first.",
)
@click.option("--target", multiple=True, type=click.Choice(list(TARGETS)), default=list(TARGETS))
@click.option("--rounds", type=click.IntRange(1), default=3, help="Every number once a round.")
@click.option("--budget", type=click.FloatRange(1), default=20, help="Of each campaign, seconds.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
@click.option("--markdown", is_flag=True, help="A section of documentation on standard output.")
def main(
    workers: tuple[int, ...],
    target: tuple[str, ...],
    rounds: int,
    budget: float,
    as_json: bool,
    markdown: bool,
) -> None:
    """Measure how many operations a second campaigns do with several workers, side by side."""
    people, progress = Console(), Console(stderr=True)
    tables = [
        table(name, workers, rounds, budget, lambda text: progress.print(text, style="dim"))
        for name in target
    ]
    if as_json:
        click.echo(json.dumps({"tables": [each.for_machines() for each in tables]}))
        return
    for each in tables:
        if markdown:
            click.echo(each.for_documents())
        else:
            people.print(each.for_people())


def table(
    target: str, numbers: Sequence[int], rounds: int, budget: float, say: Callable[[str], None]
) -> Table:
    """The medians over rounds; every other round runs in the opposite order."""
    samples: dict[int, list[Sample]] = {number: [] for number in numbers}
    for count in range(rounds):
        for number in numbers if count % 2 == 0 else reversed(numbers):
            sample = read(run(target, number, budget, seed=count))
            samples[number].append(sample)
            say(f"{target}, round {count + 1}, {number} workers: {sample.rate:,.0f} a second")
    return summary(target, samples, budget)


def run(target: str, workers: int, budget: float, seed: int) -> dict[str, Any]:
    """The report of one campaign, as anybody would run it."""
    options = ["--workers", str(workers), "--budget", f"{budget:g}", "--seed", str(seed)]
    command = [sys.executable, "-m", "hicache_verify", "run", *TARGETS[target], *options, "--json"]
    with tempfile.TemporaryDirectory() as out:
        finished = subprocess.run(
            [*command, "--out", out],
            check=True,
            stdout=subprocess.PIPE,
            text=True,
            timeout=budget + GRACE,
        )
    report: dict[str, Any] = json.loads(finished.stdout)
    return report


def read(report: dict[str, Any]) -> Sample:
    cells = report["cells"]
    return Sample(sum(cell["operations"] for cell in cells), sum(cell["seconds"] for cell in cells))


def summary(target: str, samples: dict[int, list[Sample]], budget: float) -> Table:
    first = next(iter(samples.values()))
    rows = tuple(
        (
            number,
            sum(sample.operations for sample in own),
            median(sample.rate for sample in own),
            median(mine.rate / one.rate for mine, one in zip(own, first, strict=True)),
        )
        for number, own in samples.items()
    )
    note = (
        f"Medians of {len(first)} rounds side by side, campaigns of {budget:g} s with the sources,"
        " canaries and comparisons that `run` has by default."
    )
    return Table(f"Workers: {target}, write_back, page size 1, lru", COLUMNS, rows, (note,))


if __name__ == "__main__":
    main(prog_name="python -m benchmarks.workers")
