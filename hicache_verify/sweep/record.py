"""The record of a sweep: a line of strict JSON for what was asked, then one for each cell done.

It is only ever appended to. A last line that was cut short is as good as not written. The traces of
findings lie in folders beside it. The catalogue says anew what a divergence resembles whenever it
is told (sweeping.py).
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import attrs

from hicache_verify.campaigns import plain
from hicache_verify.divergence import Divergence
from hicache_verify.sweep.matrix import SweepCell
from hicache_verify.trace import TraceError, decode_line, located

FORMAT = 2
NAME = "sweep.ndjson"
MAX_FILE_BYTES = 256 << 20

AGREES, DIVERGES, DOES_NOT_LOAD, NOT_RUN = "agrees", "diverges", "does not load", "not run"
DONE = (AGREES, DIVERGES, DOES_NOT_LOAD)
"""Verdicts after which a cell is not run again."""


@attrs.frozen
class Asked:
    """Seconds for each cell of the table, and what all of them have in common: the seed, what is
    cached beside full attention, the tokens of a page, whether keys are pairs, and whether thoughts
    are stripped.
    """

    budget: float
    seed: int
    format: int = FORMAT
    component: str = "full"
    page_sizes: tuple[int, ...] = (1,)
    bigram: bool = False
    strip_thinking: bool = False


@attrs.frozen
class Found:
    """One distinct divergence; ``length`` counts the operations of the shortest trace known.

    ``trace`` is its file, seen from the folder of the sweep; None where it could not be written.
    """

    divergence: Divergence
    length: int
    minimized: bool
    trace: str | None


@attrs.frozen
class CellDone:
    """What became of a cell; ``problem`` says why it does not load, or was not run to its end."""

    cell: SweepCell
    day: str
    verdict: str
    operations: int = 0
    seconds: float = 0.0
    problem: str | None = None
    found: tuple[Found, ...] = ()


LINES: dict[str, type[Any]] = {"sweep": Asked, "cell": CellDone}
NAMES = {cls: name for name, cls in LINES.items()}


def to_text(line: Asked | CellDone) -> str:
    return json.dumps({NAMES[type(line)]: plain.encode(line)}, allow_nan=False)


def from_bytes(data: bytes) -> Any:
    found = decode_line(data)
    if type(found) is not dict or len(found) != 1 or next(iter(found)) not in LINES:
        raise ValueError(f"not a line of a sweep: {found!r:.60}")
    ((name, fields),) = found.items()
    return plain.decode(LINES[name], fields)


class Record:
    """Open to be appended to; ``cells`` holds the last word on each cell so far."""

    def __init__(self, file: IO[bytes], asked: Asked, cells: dict[SweepCell, CellDone]) -> None:
        self._file = file
        self.asked = asked
        self.cells = cells

    def is_done(self, cell: SweepCell) -> bool:
        done = self.cells.get(cell)
        return done is not None and done.verdict in DONE

    def add(self, done: CellDone) -> None:
        _append(self._file, done)
        self.cells[done.cell] = done

    def close(self) -> None:
        self._file.close()


def open_record(folder: Path, asked: Asked) -> Record:
    """The record in ``folder``, begun with ``asked`` where there is none.

    TraceError where it cannot be read, or where another sweep has it open.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / NAME
    file = open(path, "a+b")  # noqa: SIM115
    try:
        return _read(file, path, asked)
    except BaseException:
        file.close()
        raise


def _read(file: IO[bytes], path: Path, asked: Asked) -> Record:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise TraceError("this sweep is still running", str(path)) from None
    file.seek(0)
    data = file.read(MAX_FILE_BYTES + 1)
    if len(data) > MAX_FILE_BYTES:
        raise TraceError(f"more than {MAX_FILE_BYTES} bytes, which no record is", str(path))
    whole = data[: data.rfind(b"\n") + 1]
    file.truncate(len(whole))
    file.seek(0, os.SEEK_END)
    lines = list(_lines(whole, str(path)))
    if not lines:
        _append(file, asked)
        lines = [asked]
    return Record(file, lines[0], {done.cell: done for done in lines[1:]})


def _lines(data: bytes, path: str) -> Iterator[Any]:
    for number, line in enumerate(data.splitlines(), 1):
        with located(path, number):
            found = from_bytes(line)
            if isinstance(found, Asked) != (number == 1):
                raise ValueError("what a sweep was asked is the first line, and only that")
            if isinstance(found, Asked) and found.format != FORMAT:
                raise ValueError(f"format {found.format} is not known here, only {FORMAT}")
        yield found


def _append(file: IO[bytes], line: Asked | CellDone) -> None:
    file.write(to_text(line).encode() + b"\n")
    file.flush()
