"""Hypothesis machines beside ours: one that does nothing, and the one that anybody would write.

Both run as ours do in a campaign, which asks of a machine nothing but ``driven_by``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, cast

from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from benchmarks.sessions import Example
from hicache_impl.target import TargetFactory
from hicache_model import operations as ops
from hicache_model.dialects import Dialect
from hicache_model.reference import Reference
from hicache_verify.campaigns.cells import Cell
from hicache_verify.menu import Menu
from stateful_tests.machines import BY_WEIGHT, CHOICES, CacheMachine

Offers = list[frozenset[type[Any]]]
"""Which kinds of operations made sense before each operation of an example."""


class Counter:
    """In the place of a session: only counts."""

    database = None

    def __init__(self, factory: TargetFactory) -> None:
        self.factory = factory
        self.operations = 0

    def stop(self) -> bool:
        return False


# -- nothing ---------------------------------------------------------------------------------------


class EmptyMachine(RuleBasedStateMachine):
    """Rules, preconditions and arguments of ``CacheMachine``; no rule does anything.

    The preconditions answer what they answered in one of the recorded examples, which the first
    draw chooses: Hypothesis wants the same answers for the same draws.
    """

    STEPS: ClassVar[int] = CacheMachine.STEPS
    recorded: ClassVar[Sequence[Offers]]
    counter: ClassVar[Counter]

    @classmethod
    def driven_by(cls, session: Counter, cell: Cell) -> type[EmptyMachine]:
        return type(cls.__name__, (cls,), {"counter": session})

    @initialize(choices=CHOICES)
    def build(self, choices: Sequence[int]) -> None:
        self.offered = iter(self.recorded[sum(choices) % len(self.recorded)])
        self.now = next(self.offered)

    def count(self) -> None:
        self.counter.operations += 1
        self.now = next(self.offered, self.now)

    @precondition(lambda self: getattr(self, "over", False))
    @rule()
    def nothing_more(self) -> None:
        """As in ``CacheMachine``; never allowed."""


def empty_like(machine: type[CacheMachine], examples: Sequence[Example], dialect: Dialect) -> Any:
    """An empty machine of the shape of ``machine``."""
    kinds = frozenset(kind for kind in ops.OPERATIONS if hasattr(machine, _name(kind)))
    members: dict[str, Any] = {_name(kind): _empty_rule(_name(kind), kind) for kind in kinds}
    members |= {name: _empty_rule(name) for name in BY_WEIGHT}
    offers = [[some & kinds for some in offers_in(example, dialect)] for example in examples]
    members["recorded"] = [each for each in offers if all(each)]
    return type(f"Empty{machine.__name__}", (EmptyMachine,), members)


def offers_in(example: Example, dialect: Dialect) -> Offers:
    model = Reference(example.configuration, dialect)
    menu = Menu(model)
    offers = []
    for operation in example.operations:
        offers.append(frozenset(kind for kind in menu.kinds if menu.offers(kind)))
        model.apply(operation)
    return offers


def _empty_rule(name: str, kind: type[Any] | None = None) -> Any:
    def run(self: EmptyMachine, choices: Sequence[int]) -> None:
        self.count()

    run.__name__ = run.__qualname__ = name
    return precondition(lambda self: kind is None or kind in self.now)(rule(choices=CHOICES)(run))


def _name(kind: type[Any]) -> str:
    return ops.codec.names[kind]


# -- the obvious -----------------------------------------------------------------------------------


def naive_like(machine: type[CacheMachine]) -> type[CacheMachine]:
    """The plain peer of ``machine``: after every rule all is observed and every law is asked.

    ``driven_by`` wants a ``Counter`` whose factory observes afresh each time.
    """

    class Naive(machine):  # type: ignore[valid-type, misc]
        counter: ClassVar[Counter]

        @classmethod
        def driven_by(cls, session: Any, cell: Cell) -> type[CacheMachine]:
            driven = cls.on(session.factory, cell)
            return cast(type[CacheMachine], type(cls.__name__, (driven,), {"counter": session}))

        def teardown(self) -> None:
            super().teardown()
            if hasattr(self, "lockstep"):
                self.counter.operations += len(self.lockstep.performed)

    return Naive
