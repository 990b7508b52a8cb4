"""A divergence: the moment at which a cache and what is right part, as data.

Reports turn it into words; nothing here prints.
"""

from __future__ import annotations

import attrs

from hicache_model.operations import Operation
from hicache_model.snapshot import Node, Path

KINDS = ("law", "outcome", "state", "data", "crash", "hang", "death")
ORACLES = ("law", "model", "engine", "target")


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
    it looks like, when the catalogue knows one.
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

    @property
    def key(self) -> tuple[str, str, str]:
        """Divergences with one key are one finding: the law or the exception, and its place."""
        return (self.kind, self.law, f"{self.exception}@{self.place}" if self.exception else "")


class DivergenceError(AssertionError):
    """Carries a divergence out of a state machine; its text is the report a user reads."""

    def __init__(self, divergence: Divergence, text: str | None = None) -> None:
        super().__init__(text or divergence.message)
        self.divergence = divergence
