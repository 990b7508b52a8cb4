"""``python -m benchmarks``: one run, one set of tables."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator

import attrs
import click
from rich.console import Console

from benchmarks.tables import Table

os.environ.setdefault("OMP_NUM_THREADS", "1")

SECTIONS = ("speed", "growth", "memory", "find", "profile")
USUAL = ("speed", "growth", "memory")
POLICIES = ("write_back", "write_through", "write_through_selective")
PAGE = """# Benchmarks

This page is generated: `{command}`.

What it costs to run a model beside a cache and to compare both after every operation.
All figures of a table come from one run on one machine; the ratios mean more than the times.
"""


@attrs.frozen
class Options:
    release: str
    policies: tuple[str, ...]
    page_size: int
    rounds: int
    examples: int
    nodes: tuple[int, ...]
    operations: int
    seeds: int
    budget: float


@click.command(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.option("--release", default="0.5.18", help="The SGLang that is measured.")
@click.option("--write-policy", type=click.Choice([*POLICIES, "all"]), default="write_back")
@click.option("--page-size", type=click.IntRange(1, 64), default=1)
@click.option("--only", multiple=True, type=click.Choice(SECTIONS), help="Just this section.")
@click.option("--rounds", type=click.IntRange(1), default=7, help="Of the table of speed.")
@click.option("--examples", type=click.IntRange(2), default=60, help="In one round.")
@click.option("--nodes", multiple=True, type=click.IntRange(10), default=(10, 100, 1_000, 10_000))
@click.option("--memory", "operations", type=click.IntRange(100), default=20_000, metavar="N")
@click.option("--find", is_flag=True, help="Also: how long it takes to find #19212.")
@click.option("--seeds", type=click.IntRange(1), default=10, help="Of --find.")
@click.option("--budget", type=click.FloatRange(1), default=60, help="Of each seed of --find.")
@click.option("--profile", is_flag=True, help="Also: where the time goes.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
@click.option("--markdown", is_flag=True, help="A page of documentation on standard output.")
def main(
    write_policy: str, only: tuple[str, ...], find: bool, profile: bool, as_json: bool,
    markdown: bool, **given: object,
) -> None:  # fmt: skip
    """Measure the cost of verification, each thing beside the cache alone in the same run."""
    policies = POLICIES if write_policy == "all" else (write_policy,)
    options = Options(policies=policies, **given)  # type: ignore[arg-type]
    also = [name for name, asked in (("find", find), ("profile", profile)) if asked]
    sections = dict.fromkeys([*(only or USUAL), *also])
    people = Console()
    progress = Console(stderr=True)
    tables = []
    for table in measured(options, tuple(sections), lambda text: progress.print(text, style="dim")):
        tables.append(table)
        if not (as_json or markdown):
            people.print(table.for_people())
    if as_json:
        click.echo(json.dumps({"tables": [table.for_machines() for table in tables]}))
    elif markdown:
        click.echo(page(tables), nl=False)


def measured(
    options: Options, sections: tuple[str, ...], say: Callable[[str], None]
) -> Iterator[Table]:
    """The tables of the sections, one after the other."""
    if sections != ("find",):
        yield from _in_process(options, sections, say)
    if "find" in sections:
        from benchmarks import find

        yield find.table(options.seeds, options.budget, say)


def _in_process(
    options: Options, sections: tuple[str, ...], say: Callable[[str], None]
) -> Iterator[Table]:
    import torch

    from benchmarks import growth, memory, shares
    from benchmarks.speed import Speed
    from hicache_impl.sglang.hiradix import HiRadixFactory
    from hicache_impl.sglang.loader import load
    from hicache_impl.sglang.source import Release
    from hicache_verify.cells import Cell

    torch.set_num_threads(1)
    factory = HiRadixFactory(load(Release(options.release)))
    for policy in options.policies:
        cell = Cell(policy, options.page_size, "lru")
        if "speed" in sections:
            naive = HiRadixFactory(factory.loaded, trusting=False)
            yield Speed(factory, naive, cell, options.examples, options.rounds).table(say)
        if "growth" in sections:
            yield growth.table(factory, options.nodes, policy, say)
        if "memory" in sections:
            yield memory.table(factory, cell, options.operations, say)
        if "profile" in sections:
            most = max(options.nodes)
            yield shares.table(factory, cell, 4 * options.examples, most, say)


def page(tables: list[Table]) -> str:
    import sys

    command = " ".join(["python -m benchmarks", *sys.argv[1:]])
    return "\n".join([PAGE.format(command=command), *(table.for_documents() for table in tables)])


if __name__ == "__main__":
    main(prog_name="python -m benchmarks")
