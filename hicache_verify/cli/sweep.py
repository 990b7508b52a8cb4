"""``hicache-verify sweep``: releases, caches, tree cores and write policies, one run each."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hicache_verify.cli.codes import AGREED, COULD_NOT_RUN, DIVERGED, INTERRUPTED
from hicache_verify.cli.options import (
    CONTEXT,
    MOST_WORKERS,
    Seconds,
    bigram_option,
    comma_list,
    component_option,
    cores,
    json_option,
    page_size_option,
    strip_thinking_option,
)
from hicache_verify.cli.run import refuse_unwritable, selection

if TYPE_CHECKING:
    from hicache_verify.sweep.matrix import SweepCell
    from hicache_verify.sweep.record import Asked, CellDone, Found, Record

DEFAULT_BUDGET = 20.0
DEFAULT_OUT = "hicache-sweep"
CACHES = {"all": ("hiradix", "unified"), "hiradix": ("hiradix",), "unified": ("unified",)}


@click.command(context_settings=CONTEXT)
@click.option(
    "--releases",
    callback=comma_list,
    required=True,
    metavar="V[,V]|V..V",
    help="By name, latest, or a range such as 0.5.9..latest.",
)
@click.option(
    "--cache", type=click.Choice(list(CACHES)), default="all", show_default=True, help="Which."
)
@click.option(
    "--core",
    "tree_cores",
    callback=comma_list,
    default="python",
    show_default=True,
    metavar="C[,C]",
    help="Tree cores of the unified cache: python, rust, both.",
)
@click.option(
    "--write-policy",
    callback=comma_list,
    default="all",
    show_default=True,
    metavar="P[,P]|all",
    help="write_back, write_through, write_through_selective.",
)
@page_size_option
@component_option
@strip_thinking_option
@bigram_option
@click.option(
    "--budget",
    type=Seconds(),
    default=DEFAULT_BUDGET,
    show_default=True,
    metavar="SECONDS",
    help="For each cell of the table, all page sizes together.",
)
@click.option(
    "--seed", type=click.IntRange(0, 2**63 - 1), metavar="N", default=0, show_default=True
)
@click.option(
    "--workers",
    type=click.IntRange(1, MOST_WORKERS),
    metavar="N",
    help="Processes that explore a cell at the same time.  [default: one a core]",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=DEFAULT_OUT,
    show_default=True,
    metavar="DIR",
    help="Where the record and the findings are; cells that are done there are not run again.",
)
@click.option("--resume", is_flag=True, help="Only go on: refuse an --out without a record.")
@click.option(
    "--markdown",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write the table and the findings as a page.",
)
@json_option
def sweep(
    releases: tuple[str, ...],
    cache: str,
    tree_cores: tuple[str, ...],
    write_policy: tuple[str, ...],
    page_size: tuple[int, ...],
    component: str,
    strip_thinking: bool,
    bigram: bool,
    budget: float,
    seed: int,
    workers: int | None,
    out: Path,
    resume: bool,
    markdown: Path | None,
    as_json: bool,
) -> int:
    """Run each release with each of its caches under each write policy, and say which agree.

    Exit code 0: every cell agrees or cannot load; 1: one diverges, known or not; 2: none does, and
    one could not be run; 130: interrupted.
    """
    from hicache_verify.sweep.record import Asked
    from hicache_verify.sweep.sweeping import Campaigns
    from hicache_verify.sweep.sweeping import sweep as swept

    wanted = selection(write_policy, page_size, ("lru",), component, strip_thinking, bigram)
    cells = _cells(releases, CACHES[cache], tree_cores, wanted.write_policies)
    refuse_unwritable(out)
    asked = Asked(
        budget,
        seed,
        component=component,
        page_sizes=wanted.page_sizes,
        bigram=bigram,
        strip_thinking=strip_thinking,
    )
    record = _record(out, asked, resume)
    explore = Campaigns(out, asked, cores() if workers is None else workers)
    done: list[CellDone] = []
    interrupted = False
    try:
        for one in swept(cells, record, explore):
            done.append(one)
            _say(one, as_json)
    except KeyboardInterrupt:
        interrupted = True
        click.echo("hicache-verify: the same command goes on where this one ended", err=True)
    finally:
        record.close()
    if as_json:
        _write_json(done, asked)
    if markdown is not None and not interrupted:
        _write_page(markdown, done, asked, out)
    return INTERRUPTED if interrupted else _exit_code(done)


def _cells(
    words: tuple[str, ...],
    caches: tuple[str, ...],
    tree_cores: tuple[str, ...],
    write_policies: tuple[str, ...],
) -> tuple[SweepCell, ...]:
    from hicache_model.configuration import WRITE_POLICIES
    from hicache_verify.sweep.matrix import BadReleases, chosen, known_releases, matrix
    from hicache_verify.targets import BadTarget

    policies = WRITE_POLICIES if "all" in write_policies else write_policies
    try:
        return tuple(matrix(chosen(words, known_releases()), caches, tree_cores, policies))
    except (BadReleases, BadTarget) as error:
        raise click.UsageError(str(error)) from error


def _record(out: Path, asked: Asked, resume: bool) -> Record:
    from hicache_verify.sweep.record import NAME, open_record
    from hicache_verify.trace import TraceError

    if resume and not (out / NAME).is_file():
        raise click.UsageError(f"--resume: there is no {NAME} in {out!s:.80}")
    try:
        record = open_record(out, asked)
    except (OSError, TraceError) as error:
        raise click.UsageError(f"--out {error!s:.300}") from error
    if record.asked != asked:
        begun = record.asked
        record.close()
        raise click.UsageError(
            f"the sweep in {out!s:.80} was begun with --budget {begun.budget:g} --seed "
            f"{begun.seed}{_beside(begun)}; give these, or another --out"
        )
    return record


def _beside(asked: Asked) -> str:
    """The options that are not at their default."""
    sizes = ",".join(map(str, asked.page_sizes))
    pages = "" if sizes == "1" else f" --page-size {sizes}"
    component = "" if asked.component == "full" else f" --component {asked.component}"
    stripped = " --strip-thinking" if asked.strip_thinking else ""
    return f"{pages}{component}{stripped}{' --bigram' * asked.bigram}"


def _say(done: CellDone, as_json: bool) -> None:
    """A line for each cell, as soon as it is known; beside the JSON on standard error."""
    from hicache_verify.sweep.page import verdict

    click.echo(f"{done.cell}: {verdict(done).replace('**', '')}", err=as_json)


def _write_json(done: Sequence[CellDone], asked: Asked) -> None:
    from hicache_verify.campaigns import plain
    from hicache_verify.report import json_report

    cells = [plain.encode(one) | {"found": [_told(found) for found in one.found]} for one in done]
    json_report.write(sys.stdout, {"budget": asked.budget, "seed": asked.seed, "cells": cells})


def _told(found: Found) -> dict[str, Any]:
    """What it was, without the nodes and what can be read in its trace."""
    names = "law", "message", "exception", "place", "resembles", "stands_alone"
    broken = {name: getattr(found.divergence, name) for name in names}
    return broken | {"length": found.length, "minimized": found.minimized, "trace": found.trace}


def _write_page(path: Path, done: Sequence[CellDone], asked: Asked, out: Path) -> None:
    from hicache_verify.sweep.page import page
    from hicache_verify.trace import TraceError

    try:
        path.write_text(page(done, asked, _command(path, asked), out), encoding="utf-8")
    except (OSError, TraceError) as error:
        raise click.ClickException(f"--markdown {path!s:.80}: {error}") from error


def _command(path: Path, asked: Asked) -> str:
    """The options that matter for the page, as they were given."""
    given = click.get_current_context().params
    parts = ["hicache-verify", "sweep"]
    for name, option in (
        ("releases", "--releases"),
        ("cache", "--cache"),
        ("tree_cores", "--core"),
        ("write_policy", "--write-policy"),
    ):
        value = given[name]
        parts += [option, value if isinstance(value, str) else ",".join(value)]
    alike = f"{_beside(asked)} --budget {asked.budget:g} --seed {asked.seed}"
    return shlex.join([*parts, *alike.split(), "--markdown", path.as_posix()])


def _exit_code(done: Sequence[CellDone]) -> int:
    from hicache_verify.sweep.record import DIVERGES, NOT_RUN

    verdicts = {one.verdict for one in done}
    if DIVERGES in verdicts:
        return DIVERGED
    return COULD_NOT_RUN if NOT_RUN in verdicts else AGREED
