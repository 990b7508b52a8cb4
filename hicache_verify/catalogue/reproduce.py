"""Reproduces entries: on an affected release, on the same with the patch, and on a fixed one.

Each release is played in a worker process of its own, which is watched as in a campaign.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import attrs

from hicache_verify.cannot_run import CannotRun
from hicache_verify.catalogue.entry import Entry, NamedTrace
from hicache_verify.catalogue.events import (
    AGREED,
    DIVERGED,
    FAILED,
    EntryDone,
    EntryStarted,
    Event,
    Run,
    RunRefused,
    RunStarted,
    StepDone,
    TraceDone,
    TraceStarted,
)
from hicache_verify.targets import recorded_on
from hicache_verify.workers.asking import ask, open_worker, say
from hicache_verify.workers.autopsy import Ending, judge
from hicache_verify.workers.executor import Executor, LocalExecutor, Worker
from hicache_verify.workers.messages import Attempt, Attempted, Case, Reply
from hicache_verify.workers.watch import Limits


def reproduce(
    entries: Iterable[Entry],
    *,
    every_release: bool = False,
    executor: Executor | None = None,
    limits: Limits | None = None,
) -> Iterator[Event]:
    """Play them, one release after the other, and tell what happens.

    ``every_release`` takes all that an entry names; otherwise the two in ``shown_on``.
    """
    limits = limits or Limits()
    executor = executor or LocalExecutor(limits)
    for entry in entries:
        yield EntryStarted(entry)
        held: bool | None = True
        for run in runs(entry, every_release):
            for event in play(run, executor, limits):
                yield event
                if isinstance(event, TraceDone) and not event.as_expected:
                    held = False
                elif isinstance(event, RunRefused) and held:
                    held = None
        yield EntryDone(entry, held)


def runs(entry: Entry, every_release: bool) -> list[Run]:
    """Affected releases, the same with the patch where there is one, fixed releases."""
    shown = entry.shown_on[:1], entry.shown_on[1:]
    affected, fixed = (entry.affected, entry.fixed) if every_release else shown
    return [
        *(Run(entry, release, patched=False) for release in affected),
        *(Run(entry, release, patched=True) for release in affected if entry.patch_of(release)),
        *(Run(entry, release, patched=False) for release in fixed),
    ]


def play(run: Run, executor: Executor, limits: Limits) -> Iterator[Event]:
    """All traces of the entry for one release; a worker that is lost is replaced."""
    yield RunStarted(run)
    patch = run.entry.patch_of(run.release)
    patches = (patch,) if patch and run.patched else ()
    spec = attrs.evolve(recorded_on(run.entry.target, run.release), patches=patches)
    worker: Worker | None = None
    try:
        for named in run.entry.traces_of(run.release):
            if worker is None:
                worker, _ = open_worker(executor, spec)
            yield TraceStarted(run, named)
            case = Case(named.configuration, named.operations)
            said = ask(worker, Attempt(case, keep_steps=True, strict=dict(run.entry.strict)))
            if not isinstance(said, Attempted):
                worker.close()
                worker = None
            yield from told(run, named, said, limits)
    except CannotRun as refusal:
        yield RunRefused(run, str(refusal))
    finally:
        if worker is not None:
            worker.close()


def told(run: Run, named: NamedTrace, said: Reply | Ending, limits: Limits) -> Iterator[Event]:
    """The events that a worker's last word on a trace stands for."""
    divergence = None
    failure = ""
    if isinstance(said, Attempted):
        divergence = said.divergence
        for number, step in enumerate(said.steps, start=1):
            last = number == len(said.steps)
            yield StepDone(run, named, number, step, divergence if last else None)
        if said.illegal is not None:
            failure = f"operation {said.illegal[0] + 1} is not legal there: {said.illegal[1]}"
    elif isinstance(said, Ending):
        divergence = judge(said, limits)
    if divergence is not None:
        yield TraceDone(run, named, DIVERGED, divergence)
    elif failure or not isinstance(said, Attempted):
        yield TraceDone(run, named, FAILED, problem=failure or say(said))
    else:
        yield TraceDone(run, named, AGREED)
