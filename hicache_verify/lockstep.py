"""One operation to both sides, and everything compared after it.

The target goes first; the model follows with a prediction of its own; laws judge the target's
snapshot by itself. In ``exact`` mode all of that happens after every operation. Otherwise a quick
comparison does, the laws run at intervals, and whatever differs is found again, exactly, by running
the same operations anew: what is reported is always the first operation at which something parts.
"""

from __future__ import annotations

import traceback as tracebacks
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from types import MappingProxyType, TracebackType
from typing import cast

import attrs

from hicache_impl.target import TargetFactory, WorksInSteps
from hicache_model import rules
from hicache_model.boundaries import judge_boundary
from hicache_model.configuration import Configuration
from hicache_model.laws import Law, Step, Violation, judge
from hicache_model.observations import shown_like
from hicache_model.operations import Operation, describe
from hicache_model.outcomes import Done, Outcome
from hicache_model.reference import Reference
from hicache_model.snapshot import Boundary, Path, Snapshot
from hicache_verify.compare import QuickCompare, explain
from hicache_verify.difference import Difference
from hicache_verify.divergence import Divergence, NodePair
from hicache_verify.own_check import complaint
from hicache_verify.targets import dialect_of, refuse_unknown

SMALL_TREE = 32
"""Up to this many nodes a complete snapshot is compared after every operation."""

OF_CONTENTS = ("bytes", "read-after-load")
"""Laws about what lies in a slot; what breaks them is wrong data."""

LAW_INTERVAL = 32
"""Operations between two judgements by all laws; more in a large tree, in proportion to it."""


class Lockstep:
    """Runs one example: a fresh cache, and operation after operation.

    ``step`` returns the divergence, or None. After one, the example is over. ``outcome``,
    ``actual`` and ``performed`` tell what the target answered, showed, and was asked to do so far.
    ``strict`` exchanges values of the dialect: what it tolerates is then a divergence.
    """

    def __init__(
        self,
        factory: TargetFactory,
        configuration: Configuration,
        *,
        exact: bool = True,
        strict: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.factory = factory
        self.configuration = configuration
        self.exact = exact
        self.strict = strict
        refuse_unknown(factory.description, configuration)
        dialect = dialect_of(factory.description)
        if strict:
            dialect = attrs.evolve(dialect, **strict)
        self.model = Reference(configuration, dialect)
        self.target = factory.build(configuration)
        self.unobserved = factory.description.unobserved
        self.quick = QuickCompare(self.model, self.unobserved)
        self.performed: list[Operation] = []
        self.outcome: Outcome | None = None
        self.actual: Snapshot = self.target.observe()
        self.since_laws = 0
        stepped = hasattr(self.target, "watch_steps")
        self.stepped = cast(WorksInSteps, self.target) if stepped else None
        self.boundaries: list[Boundary] = []

    def illegal(self, operation: Operation) -> str | None:
        """Why the operation is not legal now, or None."""
        return rules.refusal(self.model, operation)

    def expected(self) -> Snapshot:
        """The model's prediction of the present state, without slots and bytes."""
        return self.model.snapshot()

    def shown(self) -> tuple[Snapshot, ...]:
        """What each target showed after the last operation."""
        return (self.actual,)

    def step(self, operation: Operation) -> Divergence | None:
        """Do ``operation`` on both sides and compare. It must be legal."""
        before = self.actual
        self.performed.append(operation)
        try:
            self.outcome = self._perform(operation)
        except Exception as error:  # noqa: BLE001 - a target may raise anything
            return self._confirmed(self._crash(operation, error, "while doing it"))
        predicted = self.model.apply(operation)
        try:
            return (self._compare_exactly if self.exact else self._compare_quickly)(
                operation, before, predicted
            )
        except ObservationFailed as failed:
            return self._confirmed(self._crash(operation, failed.error, "while showing its state"))

    def _perform(self, operation: Operation) -> Outcome:
        """Do it, and look between its steps where all laws are judged after it too."""
        self.boundaries = []
        if self.stepped is None or not self.actual.complete:
            return self.target.perform(operation)
        if not (self.exact or self._laws_are_due(self.since_laws + 1)):
            return self.target.perform(operation)
        self.stepped.watch_steps(self.boundaries)
        try:
            return self.target.perform(operation)
        finally:
            self.stepped.watch_steps(None)

    def skip_to(self, operations: Iterable[Operation]) -> None:
        """Do operations that are known to agree, comparing nothing, and look at the state then."""
        for operation in operations:
            self.performed.append(operation)
            self.outcome = self.target.perform(operation)
            self.model.apply(operation)
        self.actual = self.target.observe()

    def finish(self) -> Divergence | None:
        """The last judgement of an example: all laws on a complete snapshot."""
        if self.exact or not self.performed:
            return None
        try:
            fine = self.actual.complete or self._looks_equal_at_last()
            if fine and self.since_laws >= LAW_INTERVAL // 2:
                fine = self._agrees_fully(None, None)
        except ObservationFailed as failed:
            return self._confirmed(self._crash(self.performed[-1], failed.error, "at the end"))
        return None if fine else self._rerun()

    def _looks_equal_at_last(self) -> bool:
        self.actual = self._observe()
        return self.quick.looks_equal(self.actual, *self.model.take_stale())

    # -- comparing ---------------------------------------------------------------------------------

    def _compare_exactly(
        self, operation: Operation, before: Snapshot, predicted: Outcome
    ) -> Divergence | None:
        self.actual = self._observe()
        found = (
            self._judge_boundaries(operation, before)
            or self._judge(operation, before)
            or self._contradiction(operation, predicted)
            or self._complaint(operation)
        )
        if found is None or predicted == self.outcome:
            return found
        return attrs.evolve(found, due=predicted)

    def _compare_quickly(
        self, operation: Operation, before: Snapshot, predicted: Outcome
    ) -> Divergence | None:
        stale, gone = self.model.take_stale()
        self.since_laws += 1
        due = self._laws_are_due(self.since_laws)
        if due or len(self.model.tree.by_path) <= SMALL_TREE:
            self.actual = self._observe()
        else:
            self.actual = self._observe_at(gone.union(node.path for node in stale))
        fine = predicted == self.outcome and self.quick.looks_equal(self.actual, stale, gone)
        fine = fine and not any(self._between(operation, before))
        if fine and due:
            self.since_laws = 0
            fine = self._agrees_fully(operation, before if before.complete else None)
        return None if fine else self._rerun()

    def _laws_are_due(self, operations: int) -> bool:
        return operations >= max(LAW_INTERVAL, len(self.model.tree.by_path) // 4)

    def _between(self, operation: Operation, before: Snapshot) -> Iterable[tuple[Law, Violation]]:
        """What breaks a law between two steps of the operation."""
        if not self.boundaries:
            return ()
        step = self._law_step(operation, before)
        return chain.from_iterable(judge_boundary(step, seen) for seen in self.boundaries)

    def _agrees_fully(self, operation: Operation | None, before: Snapshot | None) -> bool:
        step = self._law_step(operation, before)
        if any(judge(step)) or any(self._differences()):
            return False
        return self._own_check() is None

    def _own_check(self) -> str | None:
        try:
            return complaint(self.target, self.model.dialect, self.actual)
        except Exception as error:
            raise ObservationFailed(error) from error

    def _law_step(self, operation: Operation | None, before: Snapshot | None) -> Step:
        return Step(
            self.configuration,
            operation,
            self.outcome,
            before,
            self.actual,
            self.model.dialect.host_leaf,
            self.unobserved,
            self.model.dialect.split_hits,
            self.model.dialect.request_counts,
        )

    def _differences(self) -> Iterator[Difference]:
        return explain(self.model.snapshot(), self.actual, self.unobserved)

    def _observe(self) -> Snapshot:
        try:
            return self.target.observe()
        except Exception as error:
            raise ObservationFailed(error) from error

    def _observe_at(self, paths: Iterable[Path]) -> Snapshot:
        try:
            return self.target.observe_at(paths)
        except Exception as error:
            raise ObservationFailed(error) from error

    # -- saying what parted ------------------------------------------------------------------------

    def _judge(self, operation: Operation, before: Snapshot) -> Divergence | None:
        return self._broken(operation, judge(self._law_step(operation, before)))

    def _judge_boundaries(self, operation: Operation, before: Snapshot) -> Divergence | None:
        return self._broken(operation, self._between(operation, before))

    def _broken(
        self, operation: Operation, violations: Iterable[tuple[Law, Violation]]
    ) -> Divergence | None:
        for law, violation in violations:
            kind = "data" if law.identifier in OF_CONTENTS else "law"
            return self._divergence(
                kind, law.identifier, "law", violation.message, operation, violation.paths
            )
        return None

    def _contradiction(self, operation: Operation, predicted: Outcome) -> Divergence | None:
        if predicted != self.outcome:
            message = f"{describe(operation)} answered {_say(self.outcome)}, due {_say(predicted)}"
            return self._divergence("outcome", "answer", "model", message, operation)
        for found in self._differences():
            return self._divergence(
                "state", found.law, "model", found.message, operation, found.paths
            )
        return None

    def _complaint(self, operation: Operation) -> Divergence | None:
        found = self._own_check()
        if found is None:
            return None
        message = f"the cache's own check complains: {found}"
        return self._divergence("law", "own-check", "target", message, operation)

    def _divergence(
        self,
        kind: str,
        law: str,
        oracle: str,
        message: str,
        operation: Operation,
        paths: Sequence[Path] = (),
    ) -> Divergence:
        expected = self.model.snapshot().nodes
        actual = self.actual.nodes
        pairs = tuple(
            NodePair(path, due, shown_like(actual.get(path), due, self.unobserved))
            for path, due in ((path, expected.get(path)) for path in paths)
        )
        step = len(self.performed) - 1
        return Divergence(kind, law, oracle, message, step, operation, pairs)

    def _crash(self, operation: Operation, error: Exception, when: str) -> Divergence:
        name = type(error).__name__
        text = str(error).splitlines()[0] if str(error) else ""
        return Divergence(
            kind="crash",
            law="no-crash",
            oracle="engine",
            message=f"the target raised {name} {when}" + (f": {text}" if text else ""),
            step=len(self.performed) - 1,
            operation=operation,
            place=_deepest_place(error.__traceback__),
            exception=name,
            traceback="".join(tracebacks.format_exception(error)),
        )

    def _confirmed(self, crash: Divergence) -> Divergence:
        """A crash may be the late effect of what a quick comparison passed over: look again."""
        return crash if self.exact else (self._exact_divergence() or crash)

    def _rerun(self) -> Divergence:
        found = self._exact_divergence()
        if found is not None:
            return found
        return Divergence(
            kind="state",
            law="repeatable",
            oracle="engine",
            message="the target differed from the model, and did not when the same operations ran "
            "again: it depends on something besides its operations",
            step=len(self.performed) - 1,
            operation=self.performed[-1],
        )

    def _exact_divergence(self) -> Divergence | None:
        again = Lockstep(self.factory, self.configuration, strict=self.strict)
        for operation in self.performed:
            found = again.step(operation)
            if found is not None:
                return found
        return None


class ObservationFailed(Exception):
    """The target raised ``error`` while it showed its state."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


def _say(outcome: Outcome | None) -> str:
    if outcome is None or isinstance(outcome, Done):
        return "nothing"
    fields = attrs.asdict(outcome, filter=attrs.filters.exclude("slots"))
    inner = ", ".join(f"{name} {value}" for name, value in fields.items())
    return f"{type(outcome).__name__.lower()} ({inner})"


def _deepest_place(trace: TracebackType | None) -> str | None:
    """``module:function:line`` of the deepest frame that is not Python's, torch's or our own."""
    place = None
    for frame, line in tracebacks.walk_tb(trace):
        module = frame.f_globals.get("__name__", "?")
        if module.split(".")[0] not in ("hicache_verify", "hicache_model", "hicache_impl", "torch"):
            place = f"{module}:{frame.f_code.co_name}:{line}"
    return place
