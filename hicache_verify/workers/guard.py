"""A lockstep whose every step is journalled first, and out of which nothing comes but a divergence.

Lockstep turns what a target raises into a divergence; the guard does so for what escapes even that:
SystemExit and its kind, a failure while building, and failures of the engine itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import attrs

from hicache_impl.target import AnyFactory
from hicache_model.configuration import Configuration
from hicache_model.operations import Operation
from hicache_verify.divergence import Divergence
from hicache_verify.escaped import escaped
from hicache_verify.lockstep import Lockstep
from hicache_verify.replay import Step
from hicache_verify.side_by_side import CannotBeBuilt, in_lockstep
from hicache_verify.workers.journal import Journal, Phase
from hicache_verify.workers.messages import Attempt, Attempted, Case


class RefusedConfiguration(ValueError):
    """The target does not build a cache of this configuration."""


class Guard:
    """Runs one example after another: ``start``, then ``step`` until it returns a divergence."""

    def __init__(self, factory: AnyFactory, journal: Journal, *, exact: bool) -> None:
        self._factory = factory
        self._journal = journal
        self._exact = exact
        self._configuration = Configuration()
        self._strict: Mapping[str, str] = {}
        self._core = ""
        self.lockstep: Lockstep | None = None
        self.operations: list[Operation] = []

    @property
    def case(self) -> Case:
        """The example so far."""
        return Case(self._configuration, tuple(self.operations))

    def start(
        self, configuration: Configuration, strict: Mapping[str, str] = MappingProxyType({})
    ) -> Divergence | None:
        """Build a fresh cache; RefusedConfiguration where the target knows no such."""
        self._configuration, self._strict = configuration, strict
        self.operations = []
        self._core = ""
        self.lockstep = None
        self._journal.begin(configuration)
        return self._guarded(self._build)

    def step(self, op: Operation) -> Divergence | None:
        """Do ``op`` on both sides."""
        assert self.lockstep is not None, "start() comes before step()"
        self.operations.append(op)
        self._journal.perform(op)
        try:
            divergence = self.lockstep.step(op)
        except BaseException as error:  # noqa: BLE001 - a target is hostile
            divergence = self._escaped(error)
        self._journal.performed()
        return divergence

    def skip_to(self, operations: tuple[Operation, ...]) -> Divergence | None:
        """Do what is known to agree, comparing nothing."""
        lockstep = self.lockstep
        assert lockstep is not None, "start() comes before skip_to()"
        for op in operations:
            self.operations.append(op)
            self._journal.perform(op)
        return self._guarded(lambda: lockstep.skip_to(operations))

    def finish(self) -> Divergence | None:
        """The last comparison of an example; nothing is known of it afterwards."""
        if self.lockstep is None:
            return None
        self._journal.phase(Phase.FINISHING)
        divergence = self._guarded(self.lockstep.finish)
        self.leave()
        return divergence

    def leave(self) -> None:
        """Drop the example, as a divergence ended it."""
        self.lockstep = None
        self._journal.phase(Phase.IDLE)

    def run(self, job: Attempt) -> Attempted:
        """A case from its start to its first divergence."""
        divergence = self.start(job.case.configuration, job.strict)
        illegal: tuple[int, str] | None = None
        steps: list[Step] = []
        for index, op in enumerate(job.case.operations):
            if divergence is not None or self.lockstep is None:
                break
            reason = self.lockstep.illegal(op)
            if reason is None:
                divergence = self.step(op)
                if job.keep_steps:
                    steps.append(self._seen(op, divergence))
                continue
            illegal = illegal or (index, reason)
            if not job.skip_illegal:
                break
        divergence = divergence or self.finish()
        self.leave()
        return Attempted(divergence, self.case, illegal, tuple(steps))

    def _seen(self, op: Operation, divergence: Divergence | None) -> Step:
        """What the last step showed, without the contents of the slots."""
        assert self.lockstep is not None
        if divergence is not None and divergence.exception is not None:
            return Step(op, None, None)
        seen = attrs.evolve(self.lockstep.actual, device_kv=(), host_kv=())
        return Step(op, self.lockstep.outcome, seen)

    def _build(self) -> Divergence | None:
        try:
            self.lockstep = in_lockstep(
                self._factory,
                self._configuration,
                exact=self._exact,
                strict=self._strict,
                turn=self._take_turn,
            )
        except ValueError as error:
            raise RefusedConfiguration(str(error)) from error
        except CannotBeBuilt as failed:
            return failed.divergence
        return None

    def _guarded(self, act: Callable[[], Divergence | None]) -> Divergence | None:
        try:
            divergence = act()
        except RefusedConfiguration:
            raise
        except BaseException as error:  # noqa: BLE001 - a target is hostile
            divergence = self._escaped(error)
        if self.lockstep is not None:
            self._journal.performed()
        return divergence

    def _escaped(self, error: BaseException) -> Divergence:
        found = escaped(error, self.operations)
        return found.of_core(self._core) if self._core else found

    def _take_turn(self, core: str) -> None:
        self._core = core
        self._journal.turn(core)
