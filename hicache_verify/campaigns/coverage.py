"""What a campaign has reached, cell by cell, and how often each goal where it can be reached."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import attrs

from hicache_model.dialects import Dialect
from hicache_model.states import LEGAL_STATES, NodeState, reachable_under
from hicache_verify.campaigns.cells import Cell
from hicache_verify.goals import GOALS, Goal
from hicache_verify.reach import Reach, total

PER = 10_000
"""Goals are told per so many operations, and none should be reached less than once in them."""


@attrs.frozen
class Reached:
    """One goal: ``count`` in ``operations`` of the cells where it can be reached.

    ``rarest`` is the cell where it was reached least, ``least`` how often in PER operations.
    ``is_rare`` where that is less than once, in a cell that had as many operations.
    """

    goal: Goal
    count: int
    operations: int
    rarest: Cell
    least: float
    is_rare: bool

    @property
    def rate(self) -> float:
        """In PER operations."""
        return _rate(self.count, self.operations)


@attrs.frozen
class Coverage:
    """``dialect`` says by whose rules; a leg whose worker was lost is not counted."""

    reaches: Mapping[Cell, Reach]
    dialect: Dialect

    def whole(self) -> Reach:
        """All cells as one."""
        return total(self.reaches.values())

    def states(self) -> tuple[NodeState, ...]:
        """The states that a node can come into in one of the cells."""
        policies = {cell.write_policy for cell in self.reaches}
        return tuple(s for s in LEGAL_STATES if any(reachable_under(s, p) for p in policies))

    def goals(self) -> Iterator[Reached]:
        """Every goal that can be reached in one of the cells, in the order of GOALS."""
        for goal in GOALS:
            here = [cell for cell in self.reaches if goal.where.holds(cell, self.dialect)]
            if here:
                yield self._reached(goal, here)

    def _reached(self, goal: Goal, cells: list[Cell]) -> Reached:
        done = {cell: self.reaches[cell].operations.total() for cell in cells}
        counts = {cell: self.reaches[cell].goals[goal.name] for cell in cells}
        rates = {cell: _rate(counts[cell], done[cell]) for cell in cells}
        rarest = min(rates, key=lambda cell: rates[cell])
        is_rare = any(rates[cell] < 1 and done[cell] >= PER for cell in cells)
        total_count, operations = sum(counts.values()), sum(done.values())
        return Reached(goal, total_count, operations, rarest, rates[rarest], is_rare)


def _rate(count: int, operations: int) -> float:
    return count / operations * PER if operations else 0.0
