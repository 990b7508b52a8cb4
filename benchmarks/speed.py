"""Operations per second: the cache alone, and all that can be put beside it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from unittest.mock import patch

import attrs

from benchmarks.measure import Contender, Result, compare
from benchmarks.sessions import Blind, Example, Measured, Recording, perform
from benchmarks.stand_ins import Counter, empty_like, naive_like
from benchmarks.tables import Column, Table, name_of
from hicache_impl.target import TargetFactory
from hicache_model.reference import Reference
from hicache_verify.campaigns.cells import Cell
from hicache_verify.lockstep import Lockstep
from hicache_verify.sources import hypothesis_source
from hicache_verify.sources.hypothesis_source import run_hypothesis
from hicache_verify.sources.random_source import run_random
from hicache_verify.targets import dialect_of
from stateful_tests.machines import MACHINES

COLUMNS = (
    Column("name", "what runs"),
    Column("operations", "operations", "{:,}"),
    Column("microseconds", "µs CPU", "{:,.0f}"),
    Column("per_second", "a second, CPU", "{:,.0f}"),
    Column("per_second_wall", "a second, wall", "{:,.0f}"),
    Column("ratio", "times target alone", "{:.2f}"),
)
BUILDING = "building"
NOTES = (
    "Lockstep compares everything after every operation.",
    "The plain peer: Hypothesis; fresh observation, whole comparison, all laws after each step.",
    "The target with the random source: menu and model go along, nothing is compared.",
    "For the empty rules an operation is a rule that ran.",
    "The Rust core alone is with a look at its nodes, which its driver names by that.",
)


@attrs.frozen
class Speed:
    """What is measured: ``examples`` of the random source a round, and as many of Hypothesis.

    ``naive`` makes the same targets, but such that observe everything afresh each time.
    """

    factory: TargetFactory
    naive: TargetFactory
    cell: Cell
    examples: int = 60
    rounds: int = 7
    _recorded: dict[int, tuple[Example, ...]] = attrs.field(factory=dict, init=False, repr=False)

    def table(self, say: Callable[[str], None]) -> Table:
        say(f"recording operations ({self.cell})")
        for number in range(self.rounds + 1):
            self.recorded(number)
        results = compare(self.contenders(), self.rounds, say)
        rows = tuple(_row(result) for result in results if result.key != BUILDING)
        title = f"Speed: {name_of(self.factory)}, {self.cell}"
        return Table(title, COLUMNS, rows, self._notes(results))

    def contenders(self) -> list[Contender]:
        """The first is what the others are compared with."""
        empty = [self._empty(machine) for machine in MACHINES]
        naive = [naive_like(machine) for machine in MACHINES]
        return [
            Contender("target", "the target alone", self._replay(self._alone)),
            Contender("observed", "the target, observed", self._replay(self._observed)),
            Contender("model", "the model alone", self._replay(self._model)),
            Contender("blind", "the target, random source", self._blind),
            Contender("replay", "lockstep, replaying", self._replay(self._lockstep)),
            Contender("random", "lockstep, random source", self._random),
            Contender("hypothesis", "lockstep, Hypothesis", self._hypothesis),
            Contender("empty", "Hypothesis alone, empty rules", self._instead(empty, self.factory)),
            Contender("naive", "the plain peer", self._instead(naive, self.naive)),
            Contender(BUILDING, "building the caches", self._replay(self._build)),
        ]

    def recorded(self, number: int) -> Sequence[Example]:
        """The operations that the random source gives in a round; recorded once."""
        if number not in self._recorded:
            session = Recording(self.factory, self.cell)
            run_random(session, self.cell, seed=number, examples=self.examples, deadline=None)
            session.end()
            self._recorded[number] = tuple(session.examples)
        return self._recorded[number]

    # -- replaying ------------------------------------------------------------------------------

    def _replay(self, run: Callable[[Example], object]) -> Callable[[int], int]:
        def contender(number: int) -> int:
            examples = self.recorded(number)
            for example in examples:
                run(example)
            return sum(len(example.operations) for example in examples)

        return contender

    def _build(self, example: Example) -> None:
        self.factory.build(example.configuration)

    def _alone(self, example: Example) -> None:
        target = self.factory.build(example.configuration)
        for operation in example.operations:
            perform(target, operation)

    def _observed(self, example: Example) -> None:
        target = self.factory.build(example.configuration)
        for operation in example.operations:
            target.perform(operation)
            target.observe()

    def _model(self, example: Example) -> None:
        model = Reference(example.configuration, dialect_of(self.factory.description))
        for operation in example.operations:
            model.apply(operation)
            model.take_stale()

    def _lockstep(self, example: Example) -> None:
        lockstep = Lockstep(self.factory, example.configuration, exact=False)
        for operation in example.operations:
            assert lockstep.step(operation) is None
        assert lockstep.finish() is None

    # -- generating -----------------------------------------------------------------------------

    def _blind(self, number: int) -> int:
        session: Any = Blind(self.factory)
        run_random(session, self.cell, seed=number, examples=self.examples, deadline=None)
        return int(session.operations)

    def _random(self, number: int) -> int:
        session = Measured(self.factory, self.cell)
        run_random(session, self.cell, seed=number, examples=self.examples, deadline=None)
        return session.journal.operations

    def _hypothesis(self, number: int) -> int:
        session = Measured(self.factory, self.cell)
        run_hypothesis(session, self.cell, seed=number, examples=self.examples, deadline=None)
        session.done()
        return session.journal.operations

    def _instead(self, machines: Sequence[Any], factory: TargetFactory) -> Callable[[int], int]:
        """What a campaign does with its own machines, done with others."""

        def contender(number: int) -> int:
            counter: Any = Counter(factory)
            with patch.object(hypothesis_source, "MACHINES", machines):
                run_hypothesis(
                    counter, self.cell, seed=number, examples=self.examples, deadline=None
                )
            return int(counter.operations)

        return contender

    def _empty(self, machine: Any) -> Any:
        return empty_like(machine, self.recorded(0), dialect_of(self.factory.description))

    def _notes(self, results: Sequence[Result]) -> tuple[str, ...]:
        by_key = {result.key: result for result in results}
        share = by_key[BUILDING].ratio
        oracle = by_key["random"].cost / by_key["blind"].cost
        return (
            f"Medians of {self.rounds} rounds side by side, {self.examples} examples in each.",
            f"Building caches is {share:.0%} of the target alone, and part of all but the model.",
            f"Lockstep costs {oracle:.2f} times the same random operations without an oracle.",
            *NOTES,
        )


def _row(result: Result) -> tuple[str | int | float, ...]:
    cost, wall = result.cost, result.wall
    return (result.name, result.operations, 1e6 * cost, 1 / cost, 1 / wall, result.ratio)
