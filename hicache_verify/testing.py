"""For pytest files: runs a trace on a release, in its own process, and says how it diverges."""

from __future__ import annotations

from hicache_verify.report.listing import listing
from hicache_verify.targets import TargetSpec, recorded_on
from hicache_verify.trace import Trace
from hicache_verify.workers.executor import LocalExecutor
from hicache_verify.workers.messages import Attempt, Case
from hicache_verify.workers.rerun import Rerun, Runner
from hicache_verify.workers.watch import Limits


class IllegalTrace(ValueError):
    """An operation of the trace is not legal in its state: the trace says nothing of a cache."""


def divergence_report(trace: Trace, spec: TargetSpec | None = None) -> str | None:
    """The listing of ``trace`` where it diverges, None where cache and model agree to the end.

    It runs on the trace's own release unless ``spec`` names another target. Raises IllegalTrace,
    and CannotRun where the target is not to be had.
    """
    spec = spec or recorded_on(trace.target, trace.release)
    limits = Limits()
    runner = Runner(LocalExecutor(limits), spec, limits)
    done = runner.run(Attempt(Case(trace.configuration, trace.operations), keep_steps=True))
    if done.illegal is not None:
        index, reason = done.illegal
        raise IllegalTrace(f"operation {index + 1} is not legal in its state: {reason}")
    return None if done.divergence is None else _listing(trace, done)


def _listing(trace: Trace, done: Rerun) -> str:
    shown = trace.with_(target=done.target.target, release=done.target.release)
    return listing(shown, done.steps, done.divergence)
