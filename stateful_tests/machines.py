"""Rule-based state machines over the menu: one for the cache's own operations, one for requests.

Every rule draws a few small integers, and the menu turns them into a legal operation of the rule's
kind; shrinking the integers simplifies the operation. Some rules draw the kind too, by the menu's
weights. After every rule both sides are compared.
Under pytest a divergence fails the test with the report as its message; in a campaign the session
takes note and the example ends.
"""

from __future__ import annotations

from typing import Any, ClassVar

from hypothesis import event
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from hicache_impl.target import AnyFactory
from hicache_model import operations as ops
from hicache_model.configuration import Configuration
from hicache_verify.campaigns.cells import Cell
from hicache_verify.divergence import Divergence, DivergenceError
from hicache_verify.lockstep import Lockstep
from hicache_verify.menu import ListedChooser, Menu
from hicache_verify.reach import Reach, Watch
from hicache_verify.report.listing import divergence_block
from hicache_verify.side_by_side import in_lockstep
from hicache_verify.sources.emphasis import WITH_REQUESTS, WITHOUT_REQUESTS
from hicache_verify.sources.examples import draw_configuration

CHOICES = st.binary(min_size=12, max_size=12)
"""Small integers in one draw: a dozen draws of single integers would cost more than the cache."""

BY_WEIGHT = tuple(f"by_weight_{number}" for number in range(1, 13))
"""Rules of any kind, about as many as others make sense at a time.

Hypothesis picks among rules with even odds; among those alone #19212 takes far longer to find
(docs/reach.md).
"""


class CacheMachine(RuleBasedStateMachine):
    """Operations on the cache itself."""

    STEPS: ClassVar[int] = 40
    KINDS: ClassVar[tuple[type[Any], ...]] = WITHOUT_REQUESTS
    cell: ClassVar[Cell] = Cell("write_back", 1, "lru")
    factory: ClassVar[AnyFactory]
    session: ClassVar[Any] = None
    reach: ClassVar[Reach | None] = None

    @classmethod
    def on(cls, factory: AnyFactory, cell: Cell, reach: Reach | None = None) -> type[CacheMachine]:
        """This machine on one target and cell, for pytest: a divergence is a failed test."""
        members = {"factory": factory, "cell": cell, "reach": reach}
        return type(cls.__name__, (cls,), members)

    @classmethod
    def driven_by(cls, session: Any, cell: Cell) -> type[CacheMachine]:
        """This machine for a campaign: the session takes note of divergences."""
        members = {"factory": session.factory, "cell": cell, "session": session}
        return type(cls.__name__, (cls,), members)

    @initialize(choices=CHOICES)
    def build(self, choices: bytes) -> None:
        description = self.factory.description
        configuration = draw_configuration(self.cell, description, ListedChooser(choices))
        self.lockstep = self._start(configuration)
        self.menu = Menu(self.lockstep.model, self.KINDS)
        self.over = False
        self.watch: Watch | None = None
        if self.reach is not None:
            self.watch = Watch(self.reach, self.cell, self.lockstep.model.dialect)
            self.watch.begin(self.lockstep.model)

    def _start(self, configuration: Configuration) -> Lockstep:
        if self.session is not None:
            started: Lockstep = self.session.start(configuration)
            return started
        return in_lockstep(self.factory, configuration, exact=True)

    def offers(self, kind: type[Any]) -> bool:
        return not self.over and self.menu.offers(kind)

    def do(self, operation: ops.Operation | None) -> None:
        if operation is None:
            return
        if self.session is not None:
            self._note(self.session.step(operation))
            return
        event(ops.codec.names[type(operation)])
        found = self.lockstep.step(operation)
        self._fail(found)
        if self.watch is not None and self.lockstep.outcome is not None:
            for goal in self.watch.note(operation, self.lockstep.outcome):
                event(goal)

    def _note(self, found: Divergence | None) -> None:
        """The session knows of it. Hypothesis keeps an example only when it fails."""
        self.over = found is not None
        if found is not None and self.session.database is not None:
            raise DivergenceError(found)

    def _fail(self, found: Divergence | None) -> None:
        if found is not None:
            raise DivergenceError(found, _report(found, self.lockstep))

    def teardown(self) -> None:
        if not hasattr(self, "lockstep"):
            return
        if self.session is not None:
            self.session.end()
        elif not self.over:
            self._fail(self.lockstep.finish())

    @precondition(lambda self: getattr(self, "over", False))
    @rule()
    def nothing_more(self) -> None:
        """The example is over; Hypothesis wants a rule all the same."""


class RequestMachine(CacheMachine):
    """What a scheduler does with requests, and the operations that come between."""

    KINDS = WITH_REQUESTS


def _report(found: Divergence, lockstep: Lockstep) -> str:
    """The divergence, and the operations that led to it, as a program of the vocabulary."""
    lines = ["", *divergence_block(found), "", f"on {lockstep.configuration}:"]
    for number, operation in enumerate(lockstep.performed[: found.step + 1], start=1):
        lines.append(f"  {number}. {ops.describe(operation)}")
    return "\n".join(lines)


def _rule_for(kind: type[Any]) -> Any:
    def run(self: CacheMachine, choices: bytes) -> None:
        self.do(self.menu.draw_of(kind, ListedChooser(choices)))

    run.__name__ = run.__qualname__ = ops.codec.names[kind]
    run.__doc__ = kind.__doc__
    return precondition(lambda self: self.offers(kind))(rule(choices=CHOICES)(run))


def _rule_by_weight(name: str) -> Any:
    def run(self: CacheMachine, choices: bytes) -> None:
        self.do(self.menu.draw(ListedChooser(choices)))

    run.__name__ = run.__qualname__ = name
    return precondition(lambda self: not self.over)(rule(choices=CHOICES)(run))


def _with_rules(machine: type[CacheMachine]) -> None:
    for kind in machine.KINDS:
        setattr(machine, ops.codec.names[kind], _rule_for(kind))
    for name in BY_WEIGHT:
        setattr(machine, name, _rule_by_weight(name))


_with_rules(CacheMachine)
_with_rules(RequestMachine)

MACHINES: tuple[type[CacheMachine], ...] = (CacheMachine, RequestMachine)
