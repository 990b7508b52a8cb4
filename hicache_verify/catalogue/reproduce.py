"""Reproduces entries: on an affected release, on the same with the patch, and on a fixed one.

Each release is played in a process of its own, which must get on or is killed.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from typing import IO, Any

from hicache_model import operations, outcomes
from hicache_verify import trace as traces
from hicache_verify.catalogue.entry import Entry
from hicache_verify.catalogue.events import (
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

OPENING_S = 900.0
"""The release may have to be downloaded."""
STEP_S = 20.0
PLAYER = (sys.executable, "-m", "hicache_verify.catalogue.player")


def reproduce(
    entries: Iterable[Entry],
    *,
    every_release: bool = False,
    player: Iterable[str] = PLAYER,
    opening_s: float = OPENING_S,
    step_s: float = STEP_S,
) -> Iterator[Event]:
    """Play them, one release after the other, and tell what happens.

    ``every_release`` takes all that an entry names; otherwise the two in ``shown_on``.
    """
    for entry in entries:
        yield EntryStarted(entry)
        held: bool | None = True
        for run in runs(entry, every_release):
            for event in _Player(run, player, opening_s, step_s).events():
                yield event
                if isinstance(event, TraceDone) and not event.as_expected:
                    held = False
                elif isinstance(event, RunRefused) and held:
                    held = None
        yield EntryDone(entry, held)


def runs(entry: Entry, every_release: bool) -> list[Run]:
    """Affected releases, the same with the patch, fixed releases."""
    shown = [entry.shown_on[0]], [entry.shown_on[1]]
    affected, fixed = (entry.affected, entry.fixed) if every_release else shown
    return [
        *(Run(entry, release, False) for release in affected),
        *(Run(entry, release, True) for release in affected),
        *(Run(entry, release, False) for release in fixed),
    ]


class _Player:
    """One child process; ``events`` is what it tells, and what its silence or end means."""

    def __init__(self, run: Run, command: Iterable[str], opening_s: float, step_s: float) -> None:
        self.run = run
        self.command = list(command)
        self.opening_s, self.step_s = opening_s, step_s

    def events(self) -> Iterator[Event]:
        yield RunStarted(self.run)
        child = subprocess.Popen(
            self.command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        try:
            lines = _read_behind(child)
            _send(child, self._job())
            yield from self._follow(lines)
        finally:
            child.kill()
            child.wait()

    def _job(self) -> dict[str, Any]:
        entry = self.run.entry
        return {
            "release": self.run.release,
            "patches": [entry.patch] if self.run.patched else [],
            "traces": [
                traces.dumps(named.trace(entry.target, self.run.release)) for named in entry.traces
            ],
        }

    def _follow(self, lines: queue.SimpleQueue[str]) -> Iterator[Event]:
        opened = _next(lines, self.opening_s)
        if opened.get("is") != "opened":
            mistake = opened.get("mistake", "")
            yield RunRefused(self.run, mistake, _one_line(opened.get("message", "")))
            return
        for named in self.run.entry.traces:
            yield TraceStarted(self.run, named)
            line = _next(lines, self.step_s)
            while line.get("is") == "step":
                yield StepDone(
                    self.run,
                    named,
                    line["number"],
                    operations.codec.decode(line["operation"]),
                    line["outcome"] and outcomes.codec.decode(line["outcome"]),
                    tuple(line["picture"]),
                )
                line = _next(lines, self.step_s)
            yield TraceDone(
                self.run,
                named,
                line.get("verdict", FAILED),
                line.get("law", ""),
                _one_line(line.get("message", "")),
                tuple(line.get("report", ())),
            )
            if line.get("is") != "done":
                return


def _send(child: subprocess.Popen[str], job: dict[str, Any]) -> None:
    assert child.stdin is not None
    try:
        with child.stdin:
            json.dump(job, child.stdin)
    except BrokenPipeError:
        pass  # it ended already; that is told where its answer is missing


def _read_behind(child: subprocess.Popen[str]) -> queue.SimpleQueue[str]:
    """The child's lines, put into a queue as they come; an empty one at its end."""
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()

    def read(stream: IO[str]) -> None:
        for line in stream:
            lines.put(line)
        lines.put("")

    assert child.stdout is not None
    threading.Thread(target=read, args=(child.stdout,), daemon=True).start()
    return lines


def _next(lines: queue.SimpleQueue[str], seconds: float) -> dict[str, Any]:
    """The next line; what its absence means, said as a line of its own."""
    try:
        text = lines.get(timeout=seconds)
    except queue.Empty:
        return {"message": f"the process did not answer within {seconds:g} seconds and was killed"}
    if not text:
        return {"message": "the process ended before it was done"}
    try:
        line = json.loads(text)
    except ValueError:
        line = None
    return line if isinstance(line, dict) else {"message": f"the process said {text!r:.80}"}


def _one_line(text: str) -> str:
    return " ".join(text.split())
