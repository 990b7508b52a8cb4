"""``hicache-verify run``: search for divergences."""

from __future__ import annotations

import contextlib
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hicache_verify.cli.codes import AGREED, COULD_NOT_RUN, DIVERGED, INTERRUPTED
from hicache_verify.cli.options import (
    CONTEXT,
    Asked,
    Seconds,
    bigram_option,
    comma_list,
    component_option,
    cores,
    json_option,
    page_size_option,
    strip_thinking_option,
    target_options,
    target_spec,
    with_own_policy,
    workers_option,
)
from hicache_verify.cli.resuming import take_up
from hicache_verify.cli.workplace import workplace

if TYPE_CHECKING:
    from hicache_verify.campaigns.cells import Selection
    from hicache_verify.campaigns.plan import Plan
    from hicache_verify.campaigns.record import Recorded
    from hicache_verify.cli.workplace import Workplace
    from hicache_verify.events import CampaignFinished, Listener
    from hicache_verify.report.files import Files

DEFAULT_BUDGET = 60.0
DEFAULT_OUT = "hicache-findings"
SOURCES = {
    "hypothesis": ("hypothesis",),
    "random": ("random",),
    "both": ("hypothesis", "random"),
}


@click.command(context_settings=CONTEXT)
@target_options
@click.option(
    "--write-policy",
    callback=comma_list,
    default="write_back",
    show_default=True,
    metavar="P[,P]|all",
    help="write_back, write_through, write_through_selective.",
)
@page_size_option
@component_option
@strip_thinking_option
@bigram_option
@click.option(
    "--eviction-policy",
    callback=comma_list,
    default="lru",
    show_default=True,
    metavar="P[,P]|all",
    help="lru, lfu, fifo, mru, filo, priority, slru, tlru; for native also your own, FILE.py:NAME.",
)
@click.option(
    "--examples",
    type=click.IntRange(1, 10**9),
    metavar="N",
    help="For each combination, instead of a budget.",
)
@click.option(
    "--budget",
    type=Seconds(),
    metavar="SECONDS",
    help="For all combinations together; 60 if there are no --examples.",
)
@click.option(
    "--seed",
    type=click.IntRange(0, 2**63 - 1),
    metavar="N",
    default=0,
    show_default=True,
    help="The same seed and number of workers give the same examples.",
)
@workers_option
@click.option(
    "--dask",
    metavar="ADDRESS|local",
    help="Workers on a Dask cluster, one a thread; local makes one here.",
)
@click.option("--first", is_flag=True, help="Stop at the first divergence.")
@click.option("--coverage", is_flag=True, help="Count the states and goals that are reached.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="DIR",
    default=DEFAULT_OUT,
    show_default=True,
    help="Where findings are written.",
)
@click.option(
    "--database",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Hypothesis's examples: what failed before is tried first.",
)
@click.option(
    "--resume",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Go on with the last campaign that wrote there; --budget may extend it.",
)
@json_option
@click.option(
    "--source-of-operations",
    "sources",
    type=click.Choice(list(SOURCES)),
    metavar="|".join(SOURCES),
    default="both",
    show_default=True,
    help="Hypothesis gets a quarter of both.",
)
def run(
    asked: Asked,
    write_policy: tuple[str, ...],
    page_size: tuple[int, ...],
    component: str,
    strip_thinking: bool,
    bigram: bool,
    eviction_policy: tuple[str, ...],
    examples: int | None,
    budget: float | None,
    seed: int,
    workers: int | None,
    dask: str | None,
    first: bool,
    coverage: bool,
    out: Path,
    database: Path | None,
    resume: Path | None,
    as_json: bool,
    sources: str,
) -> int:
    """Search for operations at which a cache and the model part.

    Exit code 0: no divergence; 1: a divergence; 2: could not run; 130: interrupted, with what was
    found until then.
    """
    from hicache_verify.campaigns.plan import Plan

    if budget is None and examples is None:
        budget = DEFAULT_BUDGET
    plan = Plan(
        spec=target_spec(with_own_policy(asked, eviction_policy)),
        selection=selection(
            write_policy, page_size, eviction_policy, component, strip_thinking, bigram
        ),
        seed=seed,
        examples=examples,
        budget=budget,
        first=first,
        database=None if database is None else str(database),
        workers=cores() if workers is None else workers,
        coverage=coverage,
        sources=SOURCES[sources],
    )
    if resume is not None:
        return _go_on(resume, plan, as_json, partial(workplace, dask=dask, fit=False))
    refuse_unwritable(out)
    return _run(plan, out, as_json, partial(workplace, dask=dask, fit=workers is None))


def selection(
    write_policies: tuple[str, ...],
    page_sizes: tuple[int, ...],
    eviction: tuple[str, ...],
    component: str = "full",
    strip_thinking: bool = False,
    bigram: bool = False,
) -> Selection:
    from hicache_verify.campaigns.cells import BadCell, Selection

    try:
        return Selection(write_policies, page_sizes, eviction, component, strip_thinking, bigram)
    except BadCell as error:
        raise click.UsageError(str(error)) from error


def _go_on(folder: Path, asked: Plan, as_json: bool, work: Workplace) -> int:
    """Run what is left of a campaign; of one that is finished, say so."""
    from hicache_verify.events import TargetOpening
    from hicache_verify.report.files import Files
    from hicache_verify.report.finding_text import plural

    recorded, plan = take_up(folder, asked)
    if recorded.verdict is None or plan.budget != recorded.plan.budget:
        return _run(plan, folder, as_json, work, recorded)
    finished = recorded.finished
    if as_json:
        report = _report(Files(folder, recorded.traces), as_json)
        report(TargetOpening(plan.spec))
        report(finished)
    else:
        found = plural(len(finished.findings), "distinct divergence")
        click.echo(f"{recorded.path} is finished: {finished.verdict}, {found}")
    return _exit_code(finished, as_json)


def _run(
    plan: Plan, out: Path, as_json: bool, work: Workplace, recorded: Recorded | None = None
) -> int:
    from hicache_verify.campaigns.campaign import Campaign
    from hicache_verify.campaigns.past import Past
    from hicache_verify.campaigns.record import Record
    from hicache_verify.events import to_all
    from hicache_verify.report.files import Files
    from hicache_verify.report.progress import Progress
    from hicache_verify.report.terminal import console

    files = Files(out, None if recorded is None else recorded.traces)
    progress = Progress(console(stderr=True))
    past = Past() if recorded is None else recorded.past
    with work(plan) as (executor, fitting), contextlib.closing(progress):
        record = Record(out, fitting, files.path, recorded)
        listener = to_all(files, record, progress, _report(files, as_json))
        finished = Campaign(fitting, executor, listener, past=past).run()
    for problem in files.problems.values():
        click.echo(f"hicache-verify: a finding could not be written whole: {problem}", err=True)
    if record.problem is not None:
        click.echo(f"hicache-verify: --resume will not work: {record.problem}", err=True)
    code = _exit_code(finished, as_json)
    if finished.interrupted and record.begun:
        click.echo(f"hicache-verify: `hicache-verify run --resume {out}` goes on", err=True)
    return code


def _report(files: Files, as_json: bool) -> Listener:
    if as_json:
        from hicache_verify.report.json_report import JsonReport

        return JsonReport(sys.stdout, files.path)
    from hicache_verify.report.terminal import Terminal, console

    return Terminal(console(), files.path)


def _exit_code(finished: CampaignFinished, as_json: bool) -> int:
    if finished.problem is not None and not as_json:
        click.echo(f"hicache-verify: {' '.join(finished.problem.split())}", err=True)
    if finished.interrupted:
        return INTERRUPTED
    return {"agree": AGREED, "diverged": DIVERGED}.get(finished.verdict, COULD_NOT_RUN)


def refuse_unwritable(out: Path) -> None:
    """Before the run, not after it: the nearest folder that exists must be one to write in."""
    place = out.absolute()
    try:
        while not place.exists() and place != place.parent:
            place = place.parent
        tempfile.TemporaryFile(dir=place).close()
    except (OSError, ValueError) as error:  # a name may be too long, or no name at all
        reason = error.strerror if isinstance(error, OSError) else str(error)
        why = f"nothing can be written into {place!s:.80}: {reason}"
        raise click.UsageError(f"--out {out!s:.80}: {why}") from error
