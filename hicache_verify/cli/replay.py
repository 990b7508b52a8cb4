"""``hicache-verify replay``: run a trace again, step by step."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hicache_verify.cli.codes import AGREED, DIVERGED
from hicache_verify.cli.options import (
    CONTEXT,
    Asked,
    json_option,
    policy_option,
    read_trace,
    target_options,
    trace_with_policy,
)

if TYPE_CHECKING:
    from hicache_verify.trace import Trace
    from hicache_verify.workers.rerun import Rerun


@click.command(context_settings=CONTEXT)
@click.argument("trace", type=click.Path(path_type=Path))
@target_options
@policy_option
@json_option
def replay(trace: Path, as_json: bool, policy: str | None, asked: Asked) -> int:
    """Run TRACE again, on what it was recorded on or on another release.

    Exit code 0: both sides agree to the end; 1: they diverge; 2: it could not be run.
    """
    from hicache_verify.workers.messages import Attempt, Case

    read, spec = trace_with_policy(read_trace(trace), asked, policy)
    done = runner(spec).run(Attempt(Case(read.configuration, read.operations), keep_steps=True))
    refuse_illegal(done, trace)
    if as_json:
        from hicache_verify.report import json_report

        json_report.write(sys.stdout, _report(done))
    else:
        _show(done, read)
    return AGREED if done.divergence is None else DIVERGED


def runner(spec: Any, **limits: float) -> Any:
    """Where traces are run; a mistake of the user's becomes one line."""
    from hicache_verify.workers.executor import LocalExecutor
    from hicache_verify.workers.rerun import Runner
    from hicache_verify.workers.watch import Limits

    bounds = Limits(**limits)  # type: ignore[arg-type]
    return Runner(LocalExecutor(bounds), spec, bounds)


def refuse_illegal(done: Rerun, path: Path) -> None:
    """A trace whose operations no scheduler could call is no trace: line and reason."""
    if done.illegal is not None:
        index, reason = done.illegal
        raise click.ClickException(
            f"{path}: line {index + 2}: the operation is illegal in its state: {reason}"
        )


def _show(done: Rerun, read: Trace) -> None:
    from hicache_verify.report.listing import listing

    shown = read.with_(target=done.target.target, release=done.target.release)
    click.echo(listing(shown, done.steps, done.divergence), nl=False)


def _report(done: Rerun) -> dict[str, Any]:
    from hicache_verify.engine_laws import sentence

    found = done.divergence
    report: dict[str, Any] = {
        "target": done.target.target,
        "release": done.target.release,
        "origin": done.target.origin,
        "verdict": "agree" if found is None else "diverged",
        "operations": len(done.case.operations),
        "message": None,
    }
    if found is not None:
        report |= {
            "law": found.law,
            "sentence": sentence(found.law),
            "kind": found.kind,
            "oracle": found.oracle,
            "core": found.core,
            "stands_alone": found.stands_alone,
            "message": found.message,
            "step": found.step,
            "exception": found.exception,
            "place": found.place,
            "resembles": found.resembles,
        }
    return report
