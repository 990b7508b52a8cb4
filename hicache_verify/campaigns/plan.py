"""What a campaign is to do, and how its budget is divided."""

from __future__ import annotations

import os
from collections.abc import Iterator

import attrs

from hicache_verify.campaigns.cells import Selection
from hicache_verify.targets import TargetSpec
from hicache_verify.workers.watch import Limits

HYPOTHESIS, RANDOM = "hypothesis", "random"
LEAST_EXAMPLES = 3
CANARY_EVERY = 100
HYPOTHESIS_SHARE = 4
"""Hypothesis gets one part in so many of a cell, the fast source the rest."""


@attrs.frozen
class Plan:
    """``examples`` is per cell, ``budget`` in seconds for all of them; either may be None.

    ``workers`` explore a cell at the same time, and share its examples. Of so many examples, one is
    a canary.

    ``database`` is a folder of Hypothesis's examples: what failed before is tried first.

    ``coverage`` counts what is reached.
    """

    spec: TargetSpec
    selection: Selection = attrs.field(factory=Selection)
    seed: int = 0
    examples: int | None = None
    budget: float | None = 60.0
    first: bool = False
    database: str | None = None
    workers: int = 1
    canary_every: int | None = CANARY_EVERY
    coverage: bool = False
    sources: tuple[str, ...] = (HYPOTHESIS, RANDOM)
    limits: Limits = attrs.field(factory=Limits)

    def anchored(self) -> Plan:
        """With absolute paths, so that it means the same in any folder."""
        source, database = self.spec.source, self.database
        spec = attrs.evolve(self.spec, source=source and os.path.abspath(source))
        return attrs.evolve(self, spec=spec, database=database and os.path.abspath(database))

    @property
    def lanes(self) -> int:
        """The workers that have something to do."""
        return self.workers if self.examples is None else min(self.workers, self.examples)


@attrs.frozen
class Share:
    """What one source gets of a cell: so many examples, until that moment; None is no limit."""

    source: str
    examples: int | None
    until: float | None

    def part(self, number: int, of: int) -> Share:
        """What lane ``number`` of ``of`` gets: its part of the examples, and all of the time."""
        if self.examples is None:
            return self
        return attrs.evolve(self, examples=(self.examples + of - 1 - number) // of)


def shares(plan: Plan, now: float, until: float | None) -> Iterator[Share]:
    """A cell's examples and time, from ``now`` to ``until``, divided among the sources."""
    if len(plan.sources) == 1:
        yield Share(plan.sources[0], plan.examples, until)
        return
    some = None if plan.examples is None else -(-plan.examples // HYPOTHESIS_SHARE)
    soon = None if until is None else now + (until - now) / HYPOTHESIS_SHARE
    rest = None if plan.examples is None or some is None else plan.examples - some
    yield Share(HYPOTHESIS, some, soon)
    yield Share(RANDOM, rest, until)


def least(plan: Plan) -> Share:
    """What a cell gets for which no time was left: no cell agrees without having been looked at."""
    return Share(plan.sources[-1], LEAST_EXAMPLES, None)
