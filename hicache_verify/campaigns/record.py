"""The record of a campaign: what it takes to go on with it, a JSON line for whatever happens.

The first line holds the plan. The traces of findings lie beside it, in files of their own. It is
only ever appended to; a last line that was cut short is as good as not written.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import attrs

from hicache_verify import events, trace
from hicache_verify.campaigns import plain
from hicache_verify.campaigns.cells import Cell
from hicache_verify.campaigns.past import Past
from hicache_verify.campaigns.plan import Plan
from hicache_verify.divergence import Divergence
from hicache_verify.findings import Finding, FoundAfter
from hicache_verify.trace import MAX_LINE_BYTES, TraceError, decode_line, located
from hicache_verify.version import tool_version
from hicache_verify.workers.messages import Case

FORMAT = 1
NAME = re.compile(r"campaign-([1-9][0-9]{0,8})\.ndjson")
MAX_FILE_BYTES = 256 << 20
EVERY = 2.0
"""Seconds between two lines on the same cell."""

PathOf = Callable[[Finding], Path | None]


# -- lines -----------------------------------------------------------------------------------------


@attrs.frozen
class Header:
    format: int
    tool: str
    plan: Plan


@attrs.frozen
class FindingLine:
    """A finding, whose case is in the file ``trace``; None where that could not be written."""

    number: int
    cell: Cell
    source: str
    seed: int
    divergence: Divergence
    found_after: FoundAfter
    minimized: bool
    repeats: int
    trace: str | None


@attrs.frozen
class CellLine:
    """What was done in a cell so far, earlier runs included."""

    done: events.CellFinished
    left: bool


@attrs.frozen
class Resumed:
    tool: str


@attrs.frozen
class End:
    verdict: str


LINES: dict[str, type[Any]] = {
    "campaign": Header,
    "finding": FindingLine,
    "cell": CellLine,
    "resumed": Resumed,
    "end": End,
}
NAMES = {cls: name for name, cls in LINES.items()}


def to_text(line: Any) -> str:
    return json.dumps({NAMES[type(line)]: plain.encode(line)}, allow_nan=False)


def from_bytes(data: bytes) -> Any:
    found = decode_line(data)
    if type(found) is not dict or len(found) != 1 or next(iter(found)) not in LINES:
        raise ValueError(f"not a line of a campaign: {found!r:.60}")
    ((name, fields),) = found.items()
    return plain.decode(LINES[name], fields)


# -- writing ---------------------------------------------------------------------------------------


class Record:
    """Listens to a campaign, after the one that writes the traces (``path_of`` knows them)."""

    def __init__(
        self,
        folder: Path,
        plan: Plan,
        path_of: PathOf,
        resumed: Recorded | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.problem: str | None = None
        self.begun = False
        self._folder = folder
        self._plan = plan
        self._path_of = path_of
        self._resumed = resumed
        self._past = Past() if resumed is None else resumed.past
        self._clock = clock
        self._file: IO[bytes] | None = None
        self._written: dict[int, FindingLine] = {}
        self._laws: set[str] = set()
        self._began = self._last = 0.0
        self._unwritten: events.Progress | None = None
        self._totals = (self._past.examples, self._past.operations)

    def __call__(self, event: events.Event) -> None:
        if isinstance(event, events.CampaignStarted):
            self._try(self._open)
        elif isinstance(event, events.CellStarted):
            self._began = self._last = self._clock()
            self._laws.clear()
        elif isinstance(event, (events.FindingFound, events.FindingSettled)):
            self._laws.add(event.finding.divergence.law)
            self._finding(event.finding)
        elif isinstance(event, events.Progress):
            self._unwritten = event
            if self._clock() - self._last >= EVERY:
                self._progress(event)
        elif isinstance(event, events.CellFinished):
            self._cell(event)
        elif isinstance(event, events.CampaignFinished):
            self._end(event)

    def _open(self) -> None:
        if self._resumed is None:
            self._file = create(self._folder)
            self._write(Header(FORMAT, tool_version(), self._plan.anchored()))
        else:
            self._file = self._resumed.file
            self._write(Resumed(tool_version()))
        self.begun = True

    def _finding(self, finding: Finding) -> None:
        path = self._path_of(finding)
        line = FindingLine(
            **{name: getattr(finding, name) for name in _COPIED},
            trace=None if path is None else path.name,
        )
        if self._written.get(finding.number) != line:
            self._written[finding.number] = line
            self._write(line)

    def _progress(self, event: events.Progress) -> None:
        """What is known of a cell while it is explored."""
        examples, operations = self._totals
        now = events.CellFinished(
            event.cell,
            event.examples - examples,
            event.operations - operations,
            self._clock() - self._began,
            tuple(sorted(self._laws)),
        )
        self._last, self._unwritten = self._clock(), None
        self._write(CellLine(self._past.with_(now), left=False))

    def _cell(self, event: events.CellFinished) -> None:
        before = self._past.cells.get(event.cell)
        if event == before:
            return  # told again
        examples, operations = self._totals
        examples += event.examples - (before.examples if before else 0)
        operations += event.operations - (before.operations if before else 0)
        self._totals, self._unwritten = (examples, operations), None
        self._write(CellLine(event, left=True))

    def _end(self, event: events.CampaignFinished) -> None:
        if self._unwritten is not None:
            examples, operations = event.examples, event.operations
            last = attrs.evolve(self._unwritten, examples=examples, operations=operations)
            self._progress(last)
        for finding in event.findings:
            self._finding(finding)
        if event.problem is None and not event.interrupted:
            self._write(End(event.verdict))
        if self._file is not None:
            self._file.close()

    def _write(self, line: Any) -> None:
        if self._file is None or self.problem is not None:
            return
        text = to_text(line)
        if len(text) > MAX_LINE_BYTES:
            bare = attrs.evolve(line.divergence, nodes=(), traceback=None)
            text = to_text(attrs.evolve(line, divergence=bare))
        self._try(lambda: self._append(text))

    def _append(self, text: str) -> None:
        assert self._file is not None
        self._file.write(text.encode() + b"\n")
        self._file.flush()

    def _try(self, act: Callable[[], None]) -> None:
        """A record that cannot be written must not end the campaign."""
        try:
            act()
        except OSError as error:
            self.problem = f"{self._folder}: {error.strerror}"


_COPIED = (
    "number", "cell", "source", "seed", "divergence", "found_after", "minimized", "repeats",
)  # fmt: skip


def create(folder: Path) -> IO[bytes]:
    """A new record, numbered after all others of the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    last = max((number for number, _ in records(folder)), default=0)
    try:
        file = open(folder / f"campaign-{last + 1}.ndjson", "xb")  # noqa: SIM115
    except FileExistsError:
        return create(folder)  # another campaign has begun at this moment
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return file


def records(folder: Path) -> Iterator[tuple[int, Path]]:
    """The records of a folder and their numbers."""
    for path in folder.iterdir():
        name = NAME.fullmatch(path.name)
        if name is not None:
            yield int(name[1]), path


# -- reading ---------------------------------------------------------------------------------------


@attrs.frozen
class Recorded:
    """A record that was read: its campaign's plan and past; ``verdict`` is None for one cut short.

    ``file`` is open to be appended to, and nobody else can open it so. ``traces`` are the files of
    the findings, by number.
    """

    path: Path
    file: IO[bytes]
    plan: Plan
    past: Past
    traces: dict[int, Path]
    verdict: str | None

    @property
    def finished(self) -> events.CampaignFinished:
        """The result so far; an error where there is none yet."""
        past = self.past
        verdict = events.ERROR if self.verdict is None else self.verdict
        done = past.examples, past.operations, past.seconds
        return events.CampaignFinished(verdict, *done, past.findings)


def reopen(folder: Path) -> Recorded:
    """The newest campaign of a folder; TraceError, in one line, where none can be gone on with."""
    try:
        newest = max(records(folder), default=None)
        if newest is None:
            raise TraceError("there is no campaign-N.ndjson: no campaign was run here", str(folder))
        file = open(newest[1], "r+b")  # noqa: SIM115
    except OSError as error:
        raise TraceError(f"cannot be opened: {error.strerror}", str(folder)) from None
    try:
        return _read(newest[1], file)
    except BaseException:
        file.close()
        raise


def _read(path: Path, file: IO[bytes]) -> Recorded:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise TraceError("this campaign is still running", str(path)) from None
    data = file.read(MAX_FILE_BYTES + 1)
    if len(data) > MAX_FILE_BYTES:
        raise TraceError(f"more than {MAX_FILE_BYTES} bytes, which no record is", str(path))
    whole = data[: data.rfind(b"\n") + 1]
    recorded = _told(path, file, list(_lines(whole, str(path))))
    file.truncate(len(whole))
    file.seek(0, os.SEEK_END)
    return recorded


def _lines(data: bytes, path: str) -> Iterator[Any]:
    for number, line in enumerate(data.removesuffix(b"\n").split(b"\n"), 1):
        with located(path, number):
            found = from_bytes(line)
            if isinstance(found, Header) != (number == 1):
                raise ValueError("a campaign's plan is the first line of its record, and only that")
            if isinstance(found, Header) and found.format != FORMAT:
                raise ValueError(f"format {found.format} is not known here, only {FORMAT}")
        yield found


def _told(path: Path, file: IO[bytes], lines: list[Any]) -> Recorded:
    """What all lines say together: of each finding and each cell, the last one counts."""
    cells = {line.done.cell: line.done for line in lines if isinstance(line, CellLine)}
    left = {line.done.cell for line in lines if isinstance(line, CellLine) and line.left}
    found = {line.number: line for line in lines if isinstance(line, FindingLine)}
    if sorted(found) != list(range(1, len(found) + 1)):
        raise TraceError(f"its findings are numbered {sorted(found)}", str(path))
    traces = {number: _trace_file(path, line) for number, line in sorted(found.items())}
    findings = tuple(_finding(found[number], file) for number, file in traces.items())
    verdict = lines[-1].verdict if isinstance(lines[-1], End) else None
    past = Past(
        cells,
        frozenset(left),
        findings,
        frozenset(finding.divergence.key for finding in findings if not finding.minimized),
        1 + sum(isinstance(line, Resumed) for line in lines),
    )
    return Recorded(path, file, lines[0].plan, past, traces, verdict)


def _trace_file(path: Path, line: FindingLine) -> Path:
    name = line.trace
    if name is None or Path(name).name != name:
        raise TraceError(f"finding {line.number} has no trace beside it", str(path))
    return path.with_name(name)


def _finding(line: FindingLine, file: Path) -> Finding:
    told = trace.read(file)
    case = Case(told.configuration, told.operations)
    return Finding(case=case, **{name: getattr(line, name) for name in _COPIED})
