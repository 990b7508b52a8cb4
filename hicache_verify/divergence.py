"""A divergence: the moment at which a cache and what is right part, as data.

Reports turn it into words; nothing here prints.
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from hicache_model.operations import Operation
from hicache_model.outcomes import Outcome
from hicache_model.snapshot import Node, Path

KINDS = ("law", "outcome", "state", "data", "crash", "hang", "death")
ORACLES = ("law", "model", "engine", "target")

PYTHON, RUST, BOTH = "python", "rust", "both"
MODEL, NOBODY, UNDECIDED = "model", "nobody", "undecided"

ALONE: Mapping[str, str] = {
    PYTHON: "the Python core; the Rust core and the model agree",
    RUST: "the Rust core; the Python core and the model agree",
    MODEL: "the model; both cores agree against it, and share the cache around them",
    NOBODY: "nobody; both cores and the model differ from each other",
    UNDECIDED: "one core or the model; the other core does not show what they differ in",
}
"""Who stands alone where two cores and the model run side by side, in words."""

NAMES: Mapping[str, str] = {
    PYTHON: "the Python core",
    RUST: "the Rust core",
    BOTH: "both cores",
}


@attrs.define(frozen=True, slots=True)
class NodePair:
    """One node as it should be and as it is; None where it is not in the tree."""

    path: Path
    expected: Node | None
    actual: Node | None


@attrs.define(frozen=True, slots=True)
class Divergence:
    """What broke, at which operation.

    ``law`` is the identifier of the law that broke. ``kind`` is ``law`` (a law judged the snapshot
    or the step), ``outcome`` or ``state`` (the model predicted otherwise), ``data`` (wrong bytes),
    ``crash`` (the target raised), ``hang`` or ``death``. ``oracle`` says who spoke: ``target`` if
    the cache's own check complains. ``step`` counts operations from 0. ``place`` is
    ``module:function:line`` in the target for an exception. ``resembles`` is the public issue that
    it looks like, when the catalogue knows one. ``due`` is what the operation should have answered,
    where it answered otherwise. Where two cores run side by side, ``core`` says
    whose divergence it is, ``both`` if both part from the model here, and ``stands_alone`` is a key
    of ``ALONE``; None where that was not found out.
    """

    kind: str
    law: str
    oracle: str
    message: str
    step: int
    operation: Operation | None
    nodes: tuple[NodePair, ...] = ()
    place: str | None = None
    exception: str | None = None
    resembles: str | None = None
    traceback: str | None = None
    due: Outcome | None = None
    core: str | None = None
    stands_alone: str | None = None

    @property
    def key(self) -> tuple[str, str, str]:
        """Divergences with one key are one finding: the law or the exception, its place, whose."""
        where = f"{self.exception}@{self.place}" if self.exception else ""
        return (self.kind, self.law, " ".join(filter(None, [where, self.core])))

    @property
    def who(self) -> str | None:
        """Who stands alone, as a line of a report; None where no two cores run side by side."""
        return None if self.stands_alone is None else f"stands alone: {ALONE[self.stands_alone]}"

    def of_core(self, core: str) -> Divergence:
        """The same as one of two cores' that run side by side."""
        message = f"{NAMES.get(core, core)}: {self.message}"
        return attrs.evolve(self, core=core, message=message)


class DivergenceError(AssertionError):
    """Carries a divergence out of a state machine; its text is the report a user reads."""

    def __init__(self, divergence: Divergence, text: str | None = None) -> None:
        super().__init__(text or divergence.message)
        self.divergence = divergence
