"""``hicache-verify bugs``: can the harness see what is planted?"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from hicache_verify.cli.codes import AGREED, DIVERGED
from hicache_verify.cli.options import CONTEXT, Seconds, cores, json_option

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hicache_impl.bugs import Bug
    from hicache_verify.campaigns.planted import Hunted

DEFAULT_BUDGET = 30.0
WIDTH = 126
"""Columns of the table where there is no terminal to say how many fit."""


@click.command(context_settings=CONTEXT)
@click.argument("identifiers", metavar="[ID]...", nargs=-1)
@click.option("--list", "only_list", is_flag=True, help="Only say which there are.")
@click.option(
    "--budget",
    type=Seconds(),
    metavar="SECONDS",
    default=DEFAULT_BUDGET,
    show_default=True,
    help="For each bug.",
)
@click.option(
    "--seed", type=click.IntRange(0, 2**63 - 1), metavar="N", default=0, show_default=True
)
@json_option
def bugs(
    identifiers: tuple[str, ...], only_list: bool, budget: float, seed: int, as_json: bool
) -> int:
    """Look for the bugs that are planted in our own cache, all of them or those named.

    Exit code 0: each is found, under the law that it breaks; 1: one is not; 2: could not run.
    """
    chosen = _chosen(identifiers)
    if only_list:
        _list(chosen, as_json)
        return AGREED
    from hicache_verify.campaigns.planted import hunt
    from hicache_verify.workers.executor import LocalExecutor
    from hicache_verify.workers.watch import Limits

    done: list[Hunted] = []
    workers = min(len(chosen), cores())
    executor = LocalExecutor(Limits())
    for hunted in hunt(chosen, executor, seed=seed, budget=budget, workers=workers):
        done.append(hunted)
        if not as_json:
            _say(hunted, len(done), len(chosen))
    order = {bug.identifier: number for number, bug in enumerate(chosen)}
    done.sort(key=lambda hunted: order[hunted.bug.identifier])
    missed = [hunted for hunted in done if not hunted.found]
    if as_json:
        _write_json(done, seed)
    else:
        _show(done, missed)
    return DIVERGED if missed else AGREED


def _chosen(identifiers: tuple[str, ...]) -> tuple[Bug, ...]:
    from hicache_impl.bugs import BANK, UnknownBug, find

    try:
        return tuple(map(find, dict.fromkeys(identifiers))) or tuple(BANK.values())
    except UnknownBug as error:
        raise click.UsageError(str(error)) from error


# -- the list --------------------------------------------------------------------------------------


def _list(chosen: Sequence[Bug], as_json: bool) -> None:
    if as_json:
        from hicache_verify.report import json_report

        json_report.write(sys.stdout, {"bugs": [_data(bug) for bug in chosen]})
        return
    from hicache_verify.report.terminal import console

    out = console()
    for bug in chosen:
        out.print(f"{bug.identifier}\n  {bug.sentence}\n  breaks {bug.law}; like {bug.imitates}")


def _data(bug: Bug) -> dict[str, Any]:
    return {
        "id": bug.identifier,
        "law": bug.law,
        "sentence": bug.sentence,
        "imitates": bug.imitates,
        "write_policies": list(bug.write_policies),
        "page_size": bug.page_size,
        "eviction_policy": bug.eviction_policy,
        "strip_thinking": bug.strip_thinking,
        "bigram": bug.bigram,
    }


# -- the result ------------------------------------------------------------------------------------


def _say(hunted: Hunted, number: int, of: int) -> None:
    """A line on standard error, as soon as a bug is done."""
    mark = "✓" if hunted.found else "✗"
    click.echo(f"{mark} {number:>2} of {of}  {hunted.bug.identifier}", err=True)


def _show(done: Sequence[Hunted], missed: Sequence[Hunted]) -> None:
    from rich.table import Table
    from rich.text import Text

    from hicache_verify.report.terminal import console

    out = console()
    if not out.is_terminal:
        out.width = WIDTH
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("planted bug", no_wrap=True)
    table.add_column("law broken", no_wrap=True)
    for name in ("operations", "seconds", "trace"):
        table.add_column(name, justify="right")
    table.add_column("like", overflow="fold")
    for hunted in done:
        law = hunted.law or "nothing found"
        table.add_row(
            hunted.bug.identifier,
            Text(law, "" if hunted.found else "bold red"),
            f"{hunted.operations:,}",
            f"{hunted.seconds:.1f}",
            "-" if hunted.trace_length is None else str(hunted.trace_length),
            hunted.bug.imitates,
        )
    out.print(table)
    out.print()
    for hunted in missed:
        out.print(Text(_miss(hunted), "bold red"))
    mark = "✗" if missed else "✓"
    out.print(f"{mark} {len(done) - len(missed)} of {len(done)} planted bugs are found")


def _miss(hunted: Hunted) -> str:
    bug = hunted.bug
    if hunted.law is None:
        return f"{bug.identifier} is not found in {hunted.operations:,} operations"
    return f"{bug.identifier} is found under {hunted.law}, and says that it breaks {bug.law}"


def _write_json(done: Sequence[Hunted], seed: int) -> None:
    from hicache_verify.report import json_report

    found = [
        {
            **_data(hunted.bug),
            "found": hunted.found,
            "found_under": hunted.law,
            "operations": hunted.operations,
            "seconds": round(hunted.seconds, 3),
            "trace_length": hunted.trace_length,
            "message": None if hunted.found else _miss(hunted),
        }
        for hunted in done
    ]
    json_report.write(sys.stdout, {"seed": seed, "bugs": found})
