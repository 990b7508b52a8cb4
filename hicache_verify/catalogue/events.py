"""What happens in a reproduction, as typed events; reports listen."""

from __future__ import annotations

from typing import TypeAlias

import attrs

from hicache_model.operations import Operation
from hicache_model.outcomes import Outcome
from hicache_verify.catalogue.entry import Entry, NamedTrace

AGREED, DIVERGED, FAILED = "agreed", "diverged", "failed"


@attrs.frozen
class Run:
    """The traces of one entry on one release, in a process of its own."""

    entry: Entry
    release: str
    patched: bool

    @property
    def should(self) -> str:
        affected = self.release in self.entry.affected and not self.patched
        return DIVERGED if affected else AGREED


@attrs.frozen
class EntryStarted:
    entry: Entry


@attrs.frozen
class RunStarted:
    """The release is being opened; it may have to be fetched."""

    run: Run


@attrs.frozen
class RunRefused:
    """The release cannot be had or loaded: nothing was learnt about it."""

    run: Run
    mistake: str
    message: str


@attrs.frozen
class TraceStarted:
    run: Run
    trace: NamedTrace


@attrs.frozen
class StepDone:
    """``picture`` is the tree after the operation, drawn; ``number`` counts from 1."""

    run: Run
    trace: NamedTrace
    number: int
    operation: Operation
    outcome: Outcome | None
    picture: tuple[str, ...]


@attrs.frozen
class TraceDone:
    """How it ended. ``law`` is empty where both sides agreed, or where it could not be played."""

    run: Run
    trace: NamedTrace
    verdict: str
    law: str = ""
    message: str = ""
    report: tuple[str, ...] = ()

    @property
    def as_expected(self) -> bool:
        if self.verdict != self.run.should:
            return False
        return self.verdict == AGREED or self.law in self.run.entry.laws


@attrs.frozen
class EntryDone:
    """``held`` is None where a release could not be had."""

    entry: Entry
    held: bool | None


Event: TypeAlias = (
    EntryStarted | RunStarted | RunRefused | TraceStarted | StepDone | TraceDone | EntryDone
)
