"""``hicache-verify reproduce [ID...] [--list] [--all] [--out] [--json]``, without options parser.

The command line calls ``reproduce_command(ids, list_, all_, json_)`` and exits with what it
returns: 0 when every expectation held (the affected release diverges with the named law, the fixed
one and the patched one agree), 1 when one did not, 2 where it could not be tried (bad input,
offline).
``every_release`` plays all releases that an entry names, not just two. ``folder`` is where traces
and pytest files are written; nowhere without one.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from hicache_verify.catalogue.entries import ENTRIES, UnknownEntry, find
from hicache_verify.catalogue.entry import Entry
from hicache_verify.catalogue.events import EntryDone, Event, RunRefused
from hicache_verify.catalogue.files import Files, UnusableFolder
from hicache_verify.catalogue.machine import JsonReport, describe
from hicache_verify.catalogue.reproduce import reproduce

HELD, NOT_HELD, NOT_TRIED = 0, 1, 2
USAGE = "name an entry, or give --all or --list; the catalogue has {}"


def reproduce_command(
    ids: Sequence[str],
    list_: bool = False,
    all_: bool = False,
    json_: bool = False,
    *,
    every_release: bool = False,
    folder: Path | None = None,
    out: IO[str] | None = None,
    err: IO[str] | None = None,
) -> int:
    """Do what was asked for, write it to ``out``, and return the exit code."""
    out, err = out or sys.stdout, err or sys.stderr
    try:
        entries = ENTRIES if (all_ or list_) and not ids else find(ids)
        if not entries:
            raise UnknownEntry(USAGE.format(", ".join(e.identifier for e in ENTRIES)))
        files = None if folder is None else Files(folder)
    except (UnknownEntry, UnusableFolder) as mistake:
        if json_:
            _write(out, {"verdict": "error", "message": str(mistake), "entries": []})
        else:
            err.write(f"{mistake}\n")
        return NOT_TRIED
    if list_:
        return _list(entries, json_, out)
    events = _heard(reproduce(entries, every_release=every_release), files)
    return _as_json(events, out) if json_ else _for_people(events, out, err)


def _heard(events: Iterator[Event], files: Files | None) -> Iterator[Event]:
    for event in events:
        if files is not None:
            files(event)
        yield event


def _list(entries: tuple[Entry, ...], json_: bool, out: IO[str]) -> int:
    if json_:
        _write(out, {"entries": [describe(entry) for entry in entries]})
    else:
        from hicache_verify.catalogue.terminal import console_for, listed

        console_for(out).print(listed(entries), end="")
    return HELD


def _as_json(events: Iterator[Event], out: IO[str]) -> int:
    report, tally = JsonReport(), _Tally()
    for event in events:
        report(event)
        tally(event)
    words = {HELD: "held", NOT_HELD: "not held", NOT_TRIED: "error"}
    verdict = {"verdict": words[tally.exit_code], "message": tally.problem}
    _write(out, {**verdict, "entries": report.entries})
    return tally.exit_code


def _for_people(events: Iterator[Event], out: IO[str], err: IO[str]) -> int:
    from hicache_verify.catalogue.terminal import TerminalReport, console_for

    report, tally = TerminalReport(console_for(out)), _Tally()
    for event in events:
        report(event)
        tally(event)
    if tally.problem:
        out.flush()
        err.write(f"{tally.problem}\n")
    return tally.exit_code


class _Tally:
    """The exit code; what did not hold weighs more than what could not be tried."""

    def __init__(self) -> None:
        self.exit_code = HELD
        self.problem: str | None = None

    def __call__(self, event: Event) -> None:
        if isinstance(event, RunRefused):
            self.problem = f"{event.run.entry.target} {event.run.release}: {event.problem}"
        elif isinstance(event, EntryDone) and event.held is False:
            self.exit_code = NOT_HELD
        elif isinstance(event, EntryDone) and event.held is None and self.exit_code == HELD:
            self.exit_code = NOT_TRIED


def _write(out: IO[str], data: dict[str, Any]) -> None:
    out.write(json.dumps(data, indent=2) + "\n")
