"""Reach: what a run has visited, counted, so that what is never visited is noticed.

All counts are of the model's states. An operation *touches* a node when it changes anything of it
(place, length, locks, uses, the time of its last use) or takes it out of the tree: the node counts
under the operation in the state that it had before, a node made of fresh KV as not cached.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from functools import cache

import attrs

from hicache_model import operations as ops
from hicache_model.dialects import Dialect
from hicache_model.outcomes import Outcome
from hicache_model.reference import Reference
from hicache_model.states import TIERS, NodeState
from hicache_model.tree import TreeNode
from hicache_verify.campaigns.cells import Cell
from hicache_verify.goals import GOALS, Goal
from hicache_verify.goals.moment import Before, Facts, Moment

NOT_CACHED = "not cached"


@attrs.define(slots=True)
class Reach:
    """Counts of one cell: operations, states that nodes came into, what was touched, goals."""

    operations: Counter[str] = attrs.field(factory=Counter)
    states: Counter[str] = attrs.field(factory=Counter)
    touched: Counter[tuple[str, str]] = attrs.field(factory=Counter)
    goals: Counter[str] = attrs.field(factory=Counter)

    def add(self, other: Reach) -> None:
        """Count what ``other`` counted too."""
        for field in attrs.fields(Reach):
            getattr(self, field.name).update(getattr(other, field.name))


class Watch:
    """Counts into a reach what the examples of one cell do: ``begin`` each, ``note`` each step."""

    def __init__(
        self, reach: Reach, cell: Cell, dialect: Dialect, goals: Iterable[Goal] = GOALS
    ) -> None:
        self.reach = reach
        here = [goal for goal in goals if goal.where.holds(cell, dialect)]
        self._goals = {
            kind: tuple(goal for goal in here if not goal.by or kind in goal.by)
            for kind in ops.OPERATIONS
        }

    def begin(self, model: Reference) -> None:
        """The example has a fresh cache."""
        self._model = model
        self._before = Before.of(model)
        self._lasting: set[str] = set()

    def note(self, operation: ops.Operation, outcome: Outcome) -> list[str]:
        """Count what ``operation`` has done to the model; returns the goals that it reached."""
        moment = Moment(operation, outcome, self._before, self._model)
        self._before = moment.after
        name = ops.codec.names[type(operation)]
        self.reach.operations[name] += 1
        self._count_nodes(name, moment)
        reached = self._reached(moment)
        self.reach.goals.update(reached)
        return reached

    def _count_nodes(self, name: str, moment: Moment) -> None:
        touched, states = self.reach.touched, self.reach.states
        for node, old in moment.changed:
            before, now = _state_of(old), _state_of(node)
            touched[before, name] += 1
            if now != before:
                states[now] += 1
        for _, old in moment.gone:
            touched[_state_of(old), name] += 1
        for node in moment.added:
            touched[NOT_CACHED, name] += 1
            states[_state_of(node)] += 1

    def _reached(self, moment: Moment) -> list[str]:
        found, lasting = [], set()
        for goal in self._goals[type(moment.operation)]:
            if not goal.reached(moment):
                continue
            if goal.lasting:
                lasting.add(goal.name)
                if goal.name in self._lasting:
                    continue
            found.append(goal.name)
        self._lasting = lasting
        return found


def _state_of(node: Facts | TreeNode) -> str:
    return _state(
        node.on_device, node.on_host, node.lock_ref > 0, node.host_lock > 0, node.transfer
    )


@cache
def _state(device: bool, host: bool, locked: bool, pinned: bool, transfer: str | None) -> str:
    tier = TIERS[1 if host else 0] if device else TIERS[2]
    return str(NodeState(tier, locked, pinned, transfer))


def total(reaches: Iterable[Reach]) -> Reach:
    """All of them as one."""
    whole = Reach()
    for reach in reaches:
        whole.add(reach)
    return whole
