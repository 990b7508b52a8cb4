"""Looks for one planted bug in this process, as a worker does: the random source, the quick
comparison, and the minimizer.
"""

from __future__ import annotations

from typing import cast

import attrs

from hicache_impl.target import TargetFactory
from hicache_model.configuration import Configuration
from hicache_model.operations import Operation
from hicache_verify.campaigns.cells import Cell
from hicache_verify.divergence import Divergence
from hicache_verify.lockstep import Lockstep
from hicache_verify.minimize import minimize_on
from hicache_verify.session import Session
from hicache_verify.sources.random_source import run_random
from hicache_verify.trace import Trace


@attrs.define
class Hunt:
    """What the random source takes for a session; ends with a find or after so many operations."""

    factory: TargetFactory
    limit: int
    operations: int = 0
    found: Divergence | None = None
    lockstep: Lockstep | None = None

    def start(self, configuration: Configuration) -> Lockstep:
        self.lockstep = Lockstep(self.factory, configuration, exact=False)
        return self.lockstep

    def step(self, operation: Operation) -> Divergence | None:
        assert self.lockstep is not None
        self.operations += 1
        self.found = self.lockstep.step(operation)
        return self.found

    def end(self) -> None:
        assert self.lockstep is not None
        self.found = self.found or self.lockstep.finish()

    def stop(self) -> bool:
        return self.found is not None or self.operations >= self.limit

    @property
    def trace(self) -> Trace:
        """All that was done up to the find."""
        assert self.lockstep is not None
        assert self.found is not None
        done, target = self.lockstep.performed[: self.found.step + 1], self.factory.description
        configuration = self.lockstep.configuration
        return Trace(configuration, target.target, target.release, tuple(done))


def hunt(factory: TargetFactory, cell: Cell, seed: int, limit: int) -> Hunt:
    hunted = Hunt(factory, limit)
    run_random(cast(Session, hunted), cell, seed=seed, examples=None, deadline=None)
    return hunted


def shortest(hunted: Hunt) -> Trace:
    return minimize_on(hunted.factory, hunted.trace)
