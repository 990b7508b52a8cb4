"""What a campaign has done before it was cut, so that it can go on."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from hicache_verify.campaigns.cells import Cell
from hicache_verify.events import CellFinished
from hicache_verify.findings import Finding
from hicache_verify.workers.messages import Key

STRETCHES = 1000
"""More workers than one leg ever uses up: what goes on draws from other seeds."""


@attrs.frozen
class Past:
    """Nothing, for a new campaign.

    ``cells`` is what was done in each so far; those that were ``left`` are done. ``unsettled``
    findings wait to be minimized. ``resumed`` counts how often it has been taken up.
    """

    cells: Mapping[Cell, CellFinished] = attrs.field(factory=dict)
    left: frozenset[Cell] = frozenset()
    findings: tuple[Finding, ...] = ()
    unsettled: frozenset[Key] = frozenset()
    resumed: int = 0

    @property
    def seconds(self) -> float:
        """Of exploring; opening the target is not counted."""
        return sum(cell.seconds for cell in self.cells.values())

    @property
    def examples(self) -> int:
        return sum(cell.examples for cell in self.cells.values())

    @property
    def operations(self) -> int:
        return sum(cell.operations for cell in self.cells.values())

    @property
    def first_stretch(self) -> int:
        return self.resumed * STRETCHES

    def to_visit(self, cells: tuple[Cell, ...]) -> tuple[Cell, ...]:
        """The cells that are not done; all, where all are."""
        return tuple(cell for cell in cells if cell not in self.left) or cells

    def examples_left(self, cell: Cell, examples: int | None) -> int | None:
        """Of ``examples`` for ``cell``, those that were not run."""
        if examples is None or cell not in self.cells:
            return examples
        return max(0, examples - self.cells[cell].examples)

    def with_(self, now: CellFinished) -> CellFinished:
        """What was done in a cell before and now."""
        before = self.cells.get(now.cell)
        if before is None:
            return now
        return attrs.evolve(
            now,
            examples=before.examples + now.examples,
            operations=before.operations + now.operations,
            seconds=before.seconds + now.seconds,
            laws=tuple(sorted({*before.laws, *now.laws})),
        )
