"""``hicache-verify explore``: everything within a small bound, breadth first."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
    workers_option,
)
from hicache_verify.cli.run import DEFAULT_OUT, refuse_unwritable, selection

if TYPE_CHECKING:
    from hicache_verify.exploration.bound import Bound
    from hicache_verify.exploration.exploring import Explorations, Result
    from hicache_verify.report.files import Files


def _extras(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[str, ...]:
    return () if value is None else comma_list(ctx, param, value)


@click.command(context_settings=CONTEXT)
@target_options
@click.option(
    "--write-policy",
    callback=comma_list,
    default="write_back",
    show_default=True,
    metavar="P[,P]|all",
    help="One exploration each.",
)
@click.option(
    "--eviction-policy",
    callback=comma_list,
    default="lru",
    show_default=True,
    metavar="P[,P]|all",
    help="One exploration each.",
)
@page_size_option
@component_option
@strip_thinking_option
@bigram_option
@click.option(
    "--depth",
    type=click.IntRange(1, 50),
    default=4,
    show_default=True,
    metavar="N",
    help="The longest list of operations.",
)
@click.option(
    "--tokens",
    type=click.IntRange(1, 9),
    default=2,
    show_default=True,
    metavar="K",
    help="Different token ids (pages, where a page is longer).",
)
@click.option(
    "--device-slots", type=int, metavar="N", help="Tokens on the device.  [default: 2 pages]"
)
@click.option("--host-slots", type=int, metavar="N", help="Tokens on the host.  [default: 3 pages]")
@click.option(
    "--with",
    "extras",
    callback=_extras,
    metavar="WORD[,WORD]|all",
    help="More operations: locks, requests, chunked, namespaces, priorities.",
)
@click.option(
    "--no-join",
    is_flag=True,
    help="Try every list to its end, also where another led to the same state.",
)
@click.option(
    "--budget",
    type=Seconds(),
    default=600.0,
    show_default=True,
    metavar="SECONDS",
    help="For all explorations together.",
)
@workers_option
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=DEFAULT_OUT,
    show_default=True,
    metavar="DIR",
    help="Where findings are written.",
)
@json_option
def explore(
    asked: Asked,
    out: Path,
    as_json: bool,
    **options: Any,
) -> int:
    """Try every list of operations within a bound: a proof, or the shortest trace there is.

    Lists that lead to the same state are joined. Exit code 0: no divergence within the bound that
    was reached; 1: a divergence; 2: could not run; 130: interrupted, with what was shown until
    then.
    """
    wanted = _asked(asked, **options)
    refuse_unwritable(out)
    return _explore(wanted, out, as_json)


def _asked(
    asked: Asked,
    *,
    write_policy: tuple[str, ...],
    eviction_policy: tuple[str, ...],
    page_size: tuple[int, ...],
    component: str,
    strip_thinking: bool,
    bigram: bool,
    device_slots: int | None,
    host_slots: int | None,
    budget: float,
    workers: int | None,
    **bound: Any,
) -> Explorations:
    from hicache_verify.exploration.exploring import Explorations

    cells = selection(write_policy, page_size, eviction_policy, component, strip_thinking, bigram)
    try:
        return Explorations(
            target_spec(asked),
            _bound(**bound),
            cells,
            device_slots,
            host_slots,
            budget,
            cores() if workers is None else workers,
        )
    except ValueError as error:
        raise click.UsageError(str(error)) from error


def _bound(*, depth: int, tokens: int, extras: tuple[str, ...], no_join: bool) -> Bound:
    from hicache_verify.exploration.bound import EXTRAS, Bound

    return Bound(depth, tokens, EXTRAS if "all" in extras else extras, not no_join)


def _explore(wanted: Explorations, out: Path, as_json: bool) -> int:
    from hicache_verify.events import to_all
    from hicache_verify.exploration.exploring import Explorer
    from hicache_verify.report import exploration, json_report
    from hicache_verify.report.files import Files
    from hicache_verify.report.progress import Progress
    from hicache_verify.report.terminal import console
    from hicache_verify.workers.executor import LocalExecutor

    files, progress = Files(out), Progress(console(stderr=True))
    layers = exploration.Layers(console(), progress.stop)
    shown = [] if as_json else [layers.begin]
    explorer = Explorer(
        wanted,
        LocalExecutor(wanted.limits),
        emit=to_all(files, progress, *shown),
        hear=(lambda cell, layer: None) if as_json else layers,
    )
    try:
        result = explorer.run()
    finally:
        progress.stop()
    if as_json:
        json_report.write(sys.stdout, exploration.as_json(wanted, result, files.path))
    else:
        exploration.show(result, wanted.spec, files.path, console())
    return _exit_code(result, files, as_json)


def _exit_code(result: Result, files: Files, as_json: bool) -> int:
    for problem in files.problems.values():
        click.echo(f"hicache-verify: a finding could not be written whole: {problem}", err=True)
    if result.problem is not None and not as_json:
        click.echo(f"hicache-verify: {result.problem}", err=True)
    if result.interrupted:
        return INTERRUPTED
    return {"agree": AGREED, "diverged": DIVERGED}.get(result.verdict, COULD_NOT_RUN)
