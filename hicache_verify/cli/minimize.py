"""``hicache-verify minimize``: shorten a trace while it diverges in the same way."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from hicache_verify.cli.options import (
    CONTEXT,
    Asked,
    Seconds,
    json_option,
    policy_option,
    read_trace,
    target_options,
    trace_with_policy,
)
from hicache_verify.cli.replay import runner

DEFAULT_BUDGET = 60.0


@click.command(context_settings=CONTEXT)
@click.argument("trace", type=click.Path(path_type=Path))
@target_options
@click.option(
    "--out", type=click.Path(path_type=Path), help="Default: TRACE with .min before .jsonl."
)
@click.option(
    "--budget",
    type=Seconds(),
    default=DEFAULT_BUDGET,
    show_default=True,
    metavar="SECONDS",
)
@policy_option
@json_option
def minimize(
    trace: Path,
    out: Path | None,
    budget: float,
    as_json: bool,
    policy: str | None,
    asked: Asked,
) -> int:
    """Find the shortest trace that diverges as TRACE does, and write it."""
    from hicache_verify import trace as traces
    from hicache_verify.report import json_report
    from hicache_verify.report.listing import listing
    from hicache_verify.workers.messages import Attempt, Case

    read, spec = trace_with_policy(read_trace(trace), asked, policy)
    place = runner(spec, minimizing=budget, isolated_minimizing=budget)
    found = place.run(Attempt(Case(read.configuration, read.operations), skip_illegal=True))
    if found.divergence is None:
        where = f"{found.target.target} {found.target.release}"
        raise click.ClickException(f"{trace}: agrees on {where}, so there is nothing to minimize")
    best = place.minimize(found)
    shortest = read.with_(
        configuration=best.case.configuration,
        operations=best.case.operations,
        target=found.target.target,
        release=found.target.release,
        provenance={**read.provenance, "minimized": True},
    )
    path = out or trace.with_suffix(f".min{trace.suffix}")
    try:
        traces.write(path, shortest)
    except traces.TraceError as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        report = {
            "trace": str(path),
            "law": best.divergence.law,
            "kind": best.divergence.kind,
            "core": best.divergence.core,
            "stands_alone": best.divergence.stands_alone,
            "message": best.divergence.message,
            "operations_before": len(read.operations),
            "operations": len(shortest.operations),
        }
        json_report.write(sys.stdout, report)
    else:
        click.echo(listing(shortest, best.steps, best.divergence))
        click.echo(f"{len(read.operations)} operations became {len(shortest.operations)}: {path}")
    return 0
