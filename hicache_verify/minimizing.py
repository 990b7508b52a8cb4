"""Minimizes a finding inside a worker: what ``minimize`` asks is answered by guarded attempts."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import TypeAlias

import attrs

from hicache_impl.target import Description
from hicache_verify.divergence import UNDECIDED, Divergence
from hicache_verify.minimize import NotReproduced, minimize
from hicache_verify.replay import Step
from hicache_verify.trace import Trace
from hicache_verify.workers.guard import RefusedConfiguration
from hicache_verify.workers.messages import Attempt, Attempted, Case, Minimized

MOST_STEPS = 200

Run: TypeAlias = Callable[[Attempt], Attempted]
Same: TypeAlias = Callable[[Divergence], bool]


@attrs.define
class Candidates:
    """Answers whether a trace still shows the finding; after ``most`` questions, always no."""

    run: Run
    same: Same
    most: int
    best: Attempted | None = None

    def __call__(self, trace: Trace) -> bool:
        if self.most <= 0:
            return False
        self.most -= 1
        try:
            done = self.run(Attempt(Case(trace.configuration, trace.operations), skip_illegal=True))
        except RefusedConfiguration:
            return False
        if done.divergence is None or not self.same(done.divergence):
            return False
        self.best = done
        return True


def minimize_case(
    case: Case,
    divergence: Divergence,
    candidates: Candidates,
    description: Description,
    seconds: float,
) -> Minimized:
    """The shortest case found; the given one where it does not show the finding again."""
    trace = Trace(case.configuration, description.target, description.release, case.operations)
    with contextlib.suppress(NotReproduced):
        minimize(trace, candidates, budget_s=seconds)
    best = candidates.best
    if best is not None and best.divergence is not None:
        case, found = best.case, best.divergence
    else:
        found = divergence
    return Minimized(divergence.key, case, found, steps_of(case, found, candidates.run))


def steps_of(case: Case, divergence: Divergence, run: Run) -> tuple[Step, ...]:
    """What was seen after each operation; nothing of the last one where it ends the process."""
    if len(case.operations) > MOST_STEPS:
        return ()
    if divergence.kind not in ("hang", "death") or not case.operations:
        return run(Attempt(case, keep_steps=True)).steps
    *before, last = case.operations
    seen = run(Attempt(attrs.evolve(case, operations=tuple(before)), keep_steps=True)).steps
    return (*seen, Step(last, None, None))


def same_key(divergence: Divergence) -> Same:
    """The same finding; of two cores and the model the same one stands alone, if one does."""
    alone = divergence.stands_alone
    anyone = alone in (None, UNDECIDED)
    return lambda found: found.key == divergence.key and (anyone or found.stands_alone == alone)


def same_ending(divergence: Divergence) -> Same:
    """For a process that hung or died: from outside, its place in the target is not certain."""
    wanted = (divergence.kind, divergence.law, divergence.exception, divergence.core)
    return lambda found: (found.kind, found.law, found.exception, found.core) == wanted
