"""The worker's side of an exploration: every operation after a state, each on a cache of its own.

A state is its operations done anew. That it is then the state it was before is checked each time:
a target that depends on anything else proves nothing by what it does.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from hicache_model.dialects import Dialect
from hicache_model.operations import Operation
from hicache_model.reference import Reference
from hicache_verify.divergence import Divergence
from hicache_verify.exploration.alphabet import alphabet
from hicache_verify.exploration.explore import Expanded, Found, Reached, State
from hicache_verify.exploration.joining import state_key
from hicache_verify.workers.guard import Guard
from hicache_verify.workers.messages import Expand


class Expander:
    """Does one job."""

    def __init__(
        self,
        guard: Guard,
        dialect: Dialect,
        job: Expand,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._guard = guard
        self._dialect = dialect
        self._job = job
        self._clock = clock
        self._deadline = None if job.seconds is None else clock() + job.seconds
        self._reached: list[Reached] = []
        self._found: dict[tuple[str, str, str], Found] = {}
        self._transitions = 0
        self._start: bytes | None = None

    def run(self) -> Expanded:
        """Raises RefusedConfiguration where the target builds no such cache."""
        complete = self._expand()
        self._guard.leave()
        return Expanded(
            tuple(self._reached),
            tuple(self._found.values()),
            self._transitions,
            complete,
            self._start,
        )

    def _expand(self) -> bool:
        """False when time was up first."""
        for index, state in enumerate(self._job.states):
            for operation in self._operations(state):
                if self._deadline is not None and self._clock() >= self._deadline:
                    return False
                self._transitions += 1
                divergence = self._go_to(state) or self._guard.step(operation)
                if divergence is None:
                    self._reached.append(Reached(index, operation, self._key()))
                else:
                    found = Found(divergence, self._guard.case.operations)
                    self._found.setdefault(divergence.key, found)
        return True

    def _operations(self, state: State) -> Iterator[Operation]:
        model = Reference(self._job.configuration, self._dialect)
        for operation in state.operations:
            model.apply(operation)
        for operation in alphabet(model, self._job.bound, state.operations):
            if (*state.operations, operation) not in self._job.without:
                yield operation

    def _go_to(self, state: State) -> Divergence | None:
        """Build a cache and bring it into the state; the divergence where that is another one."""
        guard = self._guard
        divergence = guard.start(self._job.configuration) or guard.skip_to(state.operations)
        if divergence is not None:
            return divergence
        key = self._key()
        if not state.operations:
            self._start = self._start or key
        return None if key == (state.key or self._start) else _not_repeatable(state)

    def _key(self) -> bytes:
        lockstep = self._guard.lockstep
        assert lockstep is not None
        return state_key(lockstep.model, *lockstep.shown())


def _not_repeatable(state: State) -> Divergence:
    return Divergence(
        kind="state",
        law="repeatable",
        oracle="engine",
        message="the same operations led to another state than before: the target depends on "
        "something besides its operations",
        step=max(0, len(state.operations) - 1),
        operation=state.operations[-1] if state.operations else None,
    )
