"""``hicache-verify explore``: everything within a small bound, breadth first."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hicache_verify.cli.codes import AGREED, DIVERGED
from hicache_verify.cli.options import CONTEXT, Asked, json_option, target_options, target_spec
from hicache_verify.cli.run import DEFAULT_OUT

if TYPE_CHECKING:
    from hicache_model.configuration import Configuration
    from hicache_verify.explore import Exploration, Layer
    from hicache_verify.findings import Finding
    from hicache_verify.report.files import Files


@click.command(context_settings=CONTEXT)
@target_options
@click.option("--write-policy", default="write_back", show_default=True, metavar="P")
@click.option("--eviction-policy", default="lru", show_default=True, metavar="P")
@click.option("--page-size", type=int, default=1, show_default=True, metavar="N")
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
    "--device-slots",
    type=int,
    default=2,
    show_default=True,
    metavar="N",
    help="Tokens on the device.",
)
@click.option(
    "--host-slots", type=int, default=3, show_default=True, metavar="N", help="Tokens on the host."
)
@click.option("--locks", is_flag=True, help="Locks and pins are operations too.")
@click.option(
    "--budget",
    type=click.FloatRange(0.1, 10**7),
    default=600.0,
    show_default=True,
    metavar="SECONDS",
)
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
    budget: float,
    **bounds: Any,
) -> int:
    """Try every list of operations within a bound: a proof, or the shortest trace there is.

    Lists that lead to the same state are joined. Exit code 0: no divergence within the bound that
    was reached; 1: a divergence; 2: could not run.
    """
    from hicache_verify.executor import LocalExecutor
    from hicache_verify.explore import Bound
    from hicache_verify.exploring import Explorations
    from hicache_verify.report.files import Files
    from hicache_verify.watch import Limits

    configuration = _configuration(**bounds)
    bound = Bound(bounds["depth"], bounds["tokens"], bounds["locks"])
    limits, files = Limits(), Files(out)
    spec = target_spec(asked)
    hear = (lambda layer: None) if as_json else _say_layer
    where = Explorations(LocalExecutor(limits), spec, limits)
    explored, findings = where.run(configuration, bound, budget, emit=files, hear=hear)
    if as_json:
        _write_json(explored, findings, files, spec)
    else:
        _show(explored, findings, files)
    return DIVERGED if explored.found else AGREED


def _configuration(
    write_policy: str,
    eviction_policy: str,
    page_size: int,
    device_slots: int,
    host_slots: int,
    **_: Any,
) -> Configuration:
    from hicache_model.configuration import Configuration

    try:
        return Configuration(
            write_policy=write_policy,
            eviction_policy=eviction_policy,
            page_size=page_size,
            device_slots=device_slots,
            host_slots=host_slots,
        )
    except ValueError as error:
        raise click.UsageError(str(error)) from error


def _say_layer(layer: Layer) -> None:
    rate = layer.transitions / layer.seconds if layer.seconds else 0.0
    cut = "" if layer.complete else ", cut short by the budget"
    click.echo(
        f"depth {layer.depth:>2}   {layer.transitions:>9,} transitions   {layer.states:>9,} new "
        f"states   {rate:>7,.0f} transitions/s{cut}"
    )


def _show(explored: Exploration, findings: tuple[Finding, ...], files: Files) -> None:
    from hicache_verify.report.finding_text import finding_text
    from hicache_verify.report.terminal import WIDTH, console

    out = console()
    for finding in findings:
        path = files.path(finding)
        trace = None if path is None else str(path)
        again = None if path is None else f"hicache-verify replay {path}"
        out.print()
        out.print(finding_text(finding, min(out.width, WIDTH), trace, again))
    mark = "✗" if explored.found else "✓"
    out.print(
        f"\n{mark} {explored.sentence()}: {explored.states:,} states, "
        f"{explored.transitions:,} transitions"
    )


def _write_json(
    explored: Exploration, findings: tuple[Finding, ...], files: Files, spec: Any
) -> None:
    from hicache_verify.report import json_report

    seconds = sum(layer.seconds for layer in explored.layers)
    report = {
        "target": spec.target,
        "release": spec.version,
        "verdict": "diverged" if explored.found else "agree",
        "sentence": explored.sentence(),
        "states": explored.states,
        "transitions": explored.transitions,
        "depth": explored.depth,
        "complete": all(layer.complete for layer in explored.layers),
        "seconds": round(seconds, 3),
        "divergences": [json_report.divergence(f, files.path(f)) for f in findings],
    }
    json_report.write(sys.stdout, report)
