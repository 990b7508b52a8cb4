"""Shortens a trace while it keeps failing in the same way: operations, arguments, configuration.

Every step taken makes ``simpler.size`` smaller and no candidate is asked about twice, so it ends;
the result depends on the trace and the answers alone (and on the budget, where that runs out).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import attrs

from hicache_impl.target import AnyFactory
from hicache_verify import simpler
from hicache_verify.replay import SKIP, replay
from hicache_verify.trace import Trace

CANDIDATES = (
    simpler.without_requests,
    simpler.fewer_operations,
    simpler.renamed,
    simpler.simpler_arguments,
    simpler.simpler_configuration,
)


class NotReproduced(ValueError):
    """The trace that was to be minimized does not fail."""

    def __init__(self) -> None:
        super().__init__("the trace does not diverge here, so there is nothing to minimize")


class _OutOfTime(Exception):
    pass


def minimize(trace: Trace, still_fails: Callable[[Trace], bool], *, budget_s: float = 30) -> Trace:
    """The smallest trace found for which ``still_fails``; NotReproduced where ``trace`` does not.

    ``still_fails`` is asked about traces with operations that are not legal in their state.
    """
    search = _Search(trace, still_fails, time.monotonic() + budget_s)
    if not still_fails(trace):
        raise NotReproduced
    try:
        before = None
        while before is not search.best:
            before = search.best
            search.drop_operations()
            for candidates in CANDIDATES:
                search.follow(candidates)
    except _OutOfTime:
        pass
    return search.best


class _Search:
    """The smallest failing trace so far, and what has been asked already."""

    def __init__(self, trace: Trace, fails: Callable[[Trace], bool], deadline: float) -> None:
        self.best = trace
        self._size = simpler.size(trace)
        self._fails = fails
        self._deadline = deadline
        self._asked = {hash(trace)}

    def take(self, candidate: Trace) -> bool:
        """Whether ``candidate`` is smaller and fails too; it is the best one then."""
        if hash(candidate) in self._asked:
            return False
        self._asked.add(hash(candidate))
        smaller = simpler.size(candidate)
        if smaller >= self._size:
            return False
        if time.monotonic() > self._deadline:
            raise _OutOfTime
        if not self._fails(candidate):
            return False
        self.best, self._size = candidate, smaller
        return True

    def drop_operations(self) -> None:
        """Large chunks first, then one by one until no single operation can go."""
        chunk = max(1, len(self.best.operations) // 2)
        while chunk:
            dropped = self._drop_chunks(chunk)
            if chunk > 1:
                chunk //= 2
            elif not dropped:
                return

    def _drop_chunks(self, chunk: int) -> bool:
        start, dropped = 0, False
        while start < len(operations := self.best.operations):
            rest = operations[:start] + operations[start + chunk :]
            if self.take(self.best.with_(operations=rest)):
                dropped = True
            else:
                start += chunk
        return dropped

    def follow(self, candidates: Callable[[Trace], Iterator[Trace]]) -> None:
        """Take the first candidate that fails, and begin again from it until none does."""
        while any(map(self.take, candidates(self.best))):
            pass


@attrs.define(slots=True)
class SameFinding:
    """``still_fails`` on a target of this process: a divergence with the same kind, law and place.

    Operations that are not legal in their state are skipped.
    """

    factory: AnyFactory
    key: tuple[str, str, str]

    def __call__(self, trace: Trace) -> bool:
        try:
            divergence = replay(self.factory, trace, on_illegal=SKIP).divergence
        except ValueError:  # a configuration that the target refuses
            return False
        return divergence is not None and divergence.key == self.key


def performed(factory: AnyFactory, trace: Trace) -> Trace:
    """The trace without its illegal operations and without what follows the divergence."""
    return trace.with_(operations=replay(factory, trace, on_illegal=SKIP).operations)


def minimize_on(factory: AnyFactory, trace: Trace, *, budget_s: float = 30) -> Trace:
    """The smallest trace for the divergence that ``trace`` shows on a target of this process."""
    divergence = replay(factory, trace, on_illegal=SKIP).divergence
    if divergence is None:
        raise NotReproduced
    same = SameFinding(factory, divergence.key)
    return performed(factory, minimize(performed(factory, trace), same, budget_s=budget_s))
