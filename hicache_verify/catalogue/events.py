"""What happens in a reproduction, as typed events; reports listen."""

from __future__ import annotations

from typing import TypeAlias

import attrs

from hicache_verify.catalogue.entry import Entry, NamedTrace
from hicache_verify.divergence import Divergence
from hicache_verify.replay import Step

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
    problem: str


@attrs.frozen
class TraceStarted:
    run: Run
    trace: NamedTrace


@attrs.frozen
class StepDone:
    """``number`` counts from 1; ``divergence`` is that of this step."""

    run: Run
    trace: NamedTrace
    number: int
    step: Step
    divergence: Divergence | None = None


@attrs.frozen
class TraceDone:
    """How it ended; ``problem`` says why a trace could not be played to its end."""

    run: Run
    trace: NamedTrace
    verdict: str
    divergence: Divergence | None = None
    problem: str = ""

    @property
    def law(self) -> str:
        return self.divergence.law if self.divergence else ""

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
