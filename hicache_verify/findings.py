"""A finding: one distinct divergence of a run, and the shortest case known to show it."""

from __future__ import annotations

import attrs

from hicache_impl.target import Description
from hicache_verify.campaigns.cells import Cell
from hicache_verify.divergence import Divergence
from hicache_verify.replay import Step
from hicache_verify.trace import Plain, Trace
from hicache_verify.workers.messages import Case


@attrs.frozen
class FoundAfter:
    """How much of the run had passed, from its start."""

    examples: int
    operations: int
    seconds: float


@attrs.frozen
class Finding:
    """``number`` counts the run's findings from 1; ``repeats`` how often it was met again."""

    number: int
    cell: Cell
    source: str
    seed: int
    divergence: Divergence
    case: Case
    found_after: FoundAfter
    minimized: bool = False
    repeats: int = 0
    steps: tuple[Step, ...] = attrs.field(default=(), repr=False)

    def trace(self, target: Description, tool: str) -> Trace:
        """The durable form; ``tool`` is the version that found it."""
        provenance: dict[str, Plain] = {
            "tool": f"hicache-verify {tool}",
            "origin": target.origin,
            "law": self.divergence.law,
            "kind": self.divergence.kind,
            "message": self.divergence.message,
            "seed": self.seed,
            "source_of_operations": self.source,
            "found_after_examples": self.found_after.examples,
            "found_after_operations": self.found_after.operations,
            "minimized": self.minimized,
        }
        if target.bug is not None:
            provenance["bug"] = target.bug
        if self.divergence.stands_alone is not None:
            provenance["stands_alone"] = self.divergence.stands_alone
        return Trace(
            self.case.configuration,
            target.target,
            target.release,
            self.case.operations,
            provenance,
        )
