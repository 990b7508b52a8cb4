"""What a source of operations talks to: it starts examples, gives operations and is told to stop.

The session runs the lockstep, counts, and reports each distinct divergence once, at once, with its
whole trace. It is minimized when the example ends, so that nothing that happens while minimizing
can lose the finding. A finding that is met again may get a shorter trace from that.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable

from hicache_impl.target import AnyFactory
from hicache_model.configuration import Configuration
from hicache_model.operations import Operation
from hicache_model.reference import Reference
from hicache_verify.divergence import Divergence
from hicache_verify.lockstep import Lockstep
from hicache_verify.reach import Reach, Watch
from hicache_verify.targets import dialect_of
from hicache_verify.workers.guard import Guard
from hicache_verify.workers.journal import Journal
from hicache_verify.workers.messages import Case, Found, Key, Known, Leg, LegDone, Minimized, Reply

MAX_FINDINGS = 64
SHORT = 3
"""Operations below which a trace is short enough to look for no other."""
TRIES, MOST_TRIES = 3, 6
"""How many cases of one finding are minimized; more where one without requests comes by."""

Minimizer = Callable[[Case, Divergence], Minimized]


class TimeIsUp(BaseException):
    """Ends a leg between two examples. Hypothesis lets it through, as it is no Exception."""


class Session:
    """One leg of a run, inside the worker."""

    def __init__(
        self,
        factory: AnyFactory,
        journal: Journal,
        leg: Leg,
        *,
        send: Callable[[Reply], None],
        minimize: Minimizer,
        deadline: float | None = None,
        before_example: Callable[[], None] = lambda: None,
    ) -> None:
        self.factory = factory
        self.database = leg.database
        self._guard = Guard(factory, journal, exact=False)
        self._journal = journal
        self._leg = leg
        self._send = send
        self._minimize = minimize
        self._deadline = deadline
        self._before_example = before_example
        self._known: dict[Key, Known] = dict(leg.known)
        self._found = 0
        self._repeats: Counter[Key] = Counter()
        self._divergence: Divergence | None = None
        self._to_minimize: tuple[Case, Divergence] | None = None
        self._watch = _watch(factory, leg) if leg.coverage else None

    def start(self, configuration: Configuration) -> Lockstep:
        """Begin an example with a fresh cache; the menu looks at the lockstep's model.

        Where not even a cache could be built, the first ``step`` returns that divergence. Raises
        TimeIsUp after the deadline.
        """
        self.end()
        if self._late():
            raise TimeIsUp
        self._before_example()
        self._note(self._guard.start(configuration))
        if self._watch is not None and self._guard.lockstep is not None:
            self._watch.begin(self._guard.lockstep.model)
        return self._guard.lockstep or Unbuilt(self.factory, configuration)

    def step(self, op: Operation) -> Divergence | None:
        """Do ``op`` on both sides; a divergence ends the example."""
        if self._divergence is not None:
            return self._divergence
        divergence = self._guard.step(op)
        if divergence is not None:
            return self._note(divergence)
        lockstep = self._guard.lockstep
        if self._watch is not None and lockstep is not None and lockstep.outcome is not None:
            self._watch.note(op, lockstep.outcome)
        return None

    def end(self) -> Divergence | None:
        """End the example. The last comparison may still find a divergence."""
        divergence = self._divergence or self._note(self._guard.finish())
        self._guard.leave()
        self._divergence = None
        if self._to_minimize is not None:
            case, found = self._to_minimize
            self._to_minimize = None
            self._minimize_now(case, found)
        return divergence

    def over(self) -> bool:
        """Whether the leg may end, so that what a source says to that is of no interest."""
        return self.stop() or self._late()

    def _late(self) -> bool:
        return self._deadline is not None and time.monotonic() >= self._deadline

    def stop(self) -> bool:
        """Whether the source must end now, between two operations or examples."""
        return self._found >= (1 if self._leg.first else MAX_FINDINGS)

    def done(self) -> LegDone:
        """End what still runs, and sum up."""
        self.end()
        reach = None if self._watch is None else self._watch.reach
        return LegDone(tuple(sorted(self._repeats.items())), reach)

    def _note(self, divergence: Divergence | None) -> Divergence | None:
        self._divergence = divergence
        if divergence is not None:
            self._record(divergence)
        return divergence

    def _record(self, divergence: Divergence) -> None:
        key, case = divergence.key, self._guard.case
        known = self._known.get(key)
        if known is None:
            self._found += 1
            counts = self._journal.examples, self._journal.operations
            self._send(Found(divergence, case, *counts))
            self._to_minimize = (case, divergence)
            return
        self._repeats[key] += 1
        if not self._late() and promises_shorter(case, known):
            self._to_minimize = (case, divergence)

    def _minimize_now(self, case: Case, divergence: Divergence) -> None:
        result = self._minimize(case, divergence)
        self._known[divergence.key] = learn(self._known.get(divergence.key), result)
        self._send(result)


def _watch(factory: AnyFactory, leg: Leg) -> Watch:
    return Watch(Reach(), leg.cell, dialect_of(factory.description))


def promises_shorter(case: Case, known: Known) -> bool:
    """Whether another case of a finding is worth minimizing too."""
    if len(case.operations) < known.length:
        return True
    if known.length <= SHORT:
        return False
    simpler = known.requests and not case.has_requests
    return known.tries < (MOST_TRIES if simpler else TRIES)


def learn(known: Known | None, result: Minimized) -> Known:
    """What is known after one more try."""
    length, requests = len(result.case.operations), result.case.has_requests
    if known is None:
        return Known(length, requests, 1)
    if length < known.length:
        return Known(length, requests, known.tries + 1)
    return Known(known.length, known.requests, known.tries + 1)


class Unbuilt(Lockstep):
    """Has a model to draw operations from, and no target."""

    def __init__(self, factory: AnyFactory, configuration: Configuration) -> None:
        self.model = Reference(configuration, dialect_of(factory.description))
