"""A lockstep whose every step is journalled first, and out of which nothing comes but a divergence.

Lockstep turns what a target raises into a divergence; the guard does so for what escapes even that:
SystemExit and its kind, a failure while building, and failures of the engine itself.
"""

from __future__ import annotations

import signal
import traceback as tracebacks
from collections.abc import Callable, Mapping
from types import MappingProxyType, TracebackType

import attrs

from hicache_impl.target import TargetFactory
from hicache_model.configuration import Configuration
from hicache_model.operations import Operation
from hicache_verify.divergence import Divergence
from hicache_verify.lockstep import Lockstep
from hicache_verify.replay import Step
from hicache_verify.workers.journal import Journal, Phase
from hicache_verify.workers.messages import Attempt, Attempted, Case

OURS = ("hicache_verify", "hicache_model")
MAX_TRACEBACK = 20_000


class RefusedConfiguration(ValueError):
    """The target does not build a cache of this configuration."""


class Guard:
    """Runs one example after another: ``start``, then ``step`` until it returns a divergence."""

    def __init__(self, factory: TargetFactory, journal: Journal, *, exact: bool) -> None:
        self._factory = factory
        self._journal = journal
        self._exact = exact
        self._configuration = Configuration()
        self._strict: Mapping[str, str] = {}
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

    def _build(self) -> None:
        try:
            self.lockstep = Lockstep(
                self._factory, self._configuration, exact=self._exact, strict=self._strict
            )
        except ValueError as error:
            raise RefusedConfiguration(str(error)) from error

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
        if isinstance(error, KeyboardInterrupt) and _can_be_interrupted():
            raise error
        place, in_target = _place(error.__traceback__)
        name = type(error).__name__
        who = "the target raised" if in_target else "hicache-verify itself failed with"
        text = str(error).splitlines()[0] if str(error) else ""
        return Divergence(
            kind="crash",
            law="no-crash" if in_target else "engine-sound",
            oracle="engine",
            message=f"{who} {name}" + (f": {text}" if text else ""),
            step=max(0, len(self.operations) - 1),
            operation=self.operations[-1] if self.operations else None,
            place=place,
            exception=name,
            traceback="".join(tracebacks.format_exception(error))[-MAX_TRACEBACK:],
        )


def _can_be_interrupted() -> bool:
    """False in a worker, where Ctrl-C does not reach: there it is the target that raised."""
    return signal.getsignal(signal.SIGINT) is not signal.SIG_IGN


def _place(trace: TracebackType | None) -> tuple[str | None, bool]:
    """The deepest frame outside this tool, and True; else the deepest of all, and False."""
    places = [
        (frame.f_globals.get("__name__", "?"), frame.f_code.co_name, line)
        for frame, line in tracebacks.walk_tb(trace)
    ]
    theirs = [place for place in places if place[0].split(".")[0] not in OURS]
    chosen = (theirs or places)[-1:]
    return (":".join(map(str, chosen[0])) if chosen else None), bool(theirs)
