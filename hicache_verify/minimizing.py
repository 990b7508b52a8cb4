"""Minimizes a finding inside a worker: what ``minimize`` asks is answered by guarded attempts."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import attrs

from hicache_impl.target import Description
from hicache_verify.divergence import Divergence
from hicache_verify.guard import RefusedConfiguration
from hicache_verify.messages import Attempt, Attempted, Case, Key, Minimized
from hicache_verify.minimize import NotReproduced, minimize
from hicache_verify.trace import Trace


@attrs.define
class Candidates:
    """Answers whether a trace still shows the finding; after ``most`` questions, always no."""

    attempt: Callable[[Attempt], Attempted]
    same: Callable[[Divergence], bool]
    most: int
    best: Attempted | None = None

    def __call__(self, trace: Trace) -> bool:
        if self.most <= 0:
            return False
        self.most -= 1
        try:
            done = self.attempt(Attempt(Case(trace.configuration, trace.operations), True))
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
    if best is None or best.divergence is None:
        return Minimized(divergence.key, case, divergence)
    return Minimized(divergence.key, best.case, best.divergence)


def same_key(key: Key) -> Callable[[Divergence], bool]:
    return lambda found: found.key == key


def same_ending(divergence: Divergence) -> Callable[[Divergence], bool]:
    """For a process that hung or died: from outside, its place in the target is not certain."""
    wanted = (divergence.kind, divergence.law, divergence.exception)
    return lambda found: (found.kind, found.law, found.exception) == wanted
