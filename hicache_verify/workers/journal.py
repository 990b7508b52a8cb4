"""The journal: what a worker is about to do, in memory that survives it.

A worker writes each operation here before it hands it to the target, two microseconds or so each.
The parent reads counters and phase while the worker lives, and the whole current example after it
died.

A record is there entirely or not at all, because its first word is written last:

    generation | length and checksum of the payload | payload

``generation`` is the number of the example, so what an earlier one left behind is not taken for
this one's. The first record of an example is its configuration, the others are its operations, each
with its name; all as JSON.
"""

from __future__ import annotations

import mmap
import os
import struct
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from typing import Any

import attrs
import msgspec

from hicache_model import operations
from hicache_model.codec import decode_fields, encode_fields
from hicache_model.configuration import Configuration
from hicache_model.operations import Operation

CAPACITY = 64 << 20  # of a sparse file: only what an example needs is ever touched
HEADER = 64

_WORD = struct.Struct("=I")
_COUNTER = struct.Struct("=Q")
_COUNTERS = struct.Struct("=QQ")
_FRAME = struct.Struct("=II")

_BEATS, _OPERATIONS, _EXAMPLES, _GENERATION, _PHASE, _PURPOSE, _CORE = 0, 8, 16, 24, 32, 33, 40
_CORE_BYTES = 16


class Phase(IntEnum):
    """What the worker is doing; the target runs while it builds, performs and finishes."""

    STARTING = 0
    IDLE = 1
    BUILDING = 2
    PERFORMING = 3
    BETWEEN = 4
    FINISHING = 5

    @property
    def in_target(self) -> bool:
        return self in (Phase.BUILDING, Phase.PERFORMING, Phase.FINISHING)


_PERFORMING, _BETWEEN = int(Phase.PERFORMING), int(Phase.BETWEEN)


class JournalFull(OverflowError):
    """An example is longer than the journal holds."""


@attrs.frozen
class Entry:
    """What the journal holds of the current example; while idle, of the last one.

    ``configuration`` is None where there was none yet. ``core`` is the one of two cores whose turn
    it is.
    """

    phase: Phase
    minimizing: bool
    examples: int
    operations_total: int
    configuration: Configuration | None
    operations: tuple[Operation, ...]
    core: str = ""


@attrs.frozen
class Pulse:
    """The counters, cheap to read; ``beats`` grows with everything that the worker does."""

    beats: int
    examples: int
    operations: int
    phase: Phase
    minimizing: bool


def make_file() -> int:
    """A file descriptor to share with a worker; the file has no name and goes with its users."""
    with tempfile.TemporaryFile() as file:
        file.truncate(HEADER + CAPACITY)
        return os.dup(file.fileno())


class Journal:
    """The writing side. ``examples`` and ``operations`` count what explores, not what minimizes."""

    def __init__(self, fd: int) -> None:
        self._map = mmap.mmap(fd, HEADER + CAPACITY)
        self._end = HEADER
        self._beats = self._generation = self.examples = self.operations = 0
        self._counted = 1

    @contextmanager
    def minimizing(self) -> Iterator[None]:
        """What happens inside is marked, and not counted."""
        self._counted = 0
        try:
            yield
        finally:
            self._counted = 1

    def begin(self, configuration: Configuration) -> None:
        """A new example: everything before it is forgotten."""
        self._catch_up()
        self.phase(Phase.IDLE)
        self._generation += 1
        self._end = HEADER
        self._append(_frame(encode_fields(configuration)))
        self.examples += self._counted
        _COUNTER.pack_into(self._map, _GENERATION, self._generation)
        _COUNTER.pack_into(self._map, _EXAMPLES, self.examples)
        self._map[_PURPOSE] = 1 - self._counted
        self.turn("")
        self.phase(Phase.BUILDING)

    def forget(self) -> None:
        """No example runs: if the process ends now, no target had a part in it."""
        self._catch_up()
        self.phase(Phase.IDLE)
        self._generation += 1
        _COUNTER.pack_into(self._map, _GENERATION, self._generation)

    def _catch_up(self) -> None:
        """A forked child may have written since."""
        self._beats, self.operations = _COUNTERS.unpack_from(self._map, _BEATS)
        self.examples = _COUNTER.unpack_from(self._map, _EXAMPLES)[0]
        self._generation = _COUNTER.unpack_from(self._map, _GENERATION)[0]

    def perform(self, op: Operation) -> None:
        """``op`` is about to be done."""
        self._append(_frame((_NAMES[type(op)], op)))
        self._beats += 1
        self.operations += self._counted
        _COUNTERS.pack_into(self._map, _BEATS, self._beats, self.operations)
        self._map[_PHASE] = _PERFORMING

    def performed(self) -> None:
        """The operation is done; what now runs is the source of operations."""
        self._map[_PHASE] = _BETWEEN

    def turn(self, core: str) -> None:
        """What runs now is this one of two cores, which has a deadline of its own."""
        name = core.encode()[:_CORE_BYTES].ljust(_CORE_BYTES, b"\0")
        self._map[_CORE : _CORE + _CORE_BYTES] = name
        self._beats += 1
        _COUNTER.pack_into(self._map, _BEATS, self._beats)

    def phase(self, phase: Phase) -> None:
        self._map[_PHASE] = phase
        self._beats += 1
        _COUNTER.pack_into(self._map, _BEATS, self._beats)

    def _append(self, frame: bytes) -> None:
        start = self._end + _WORD.size
        end = start + len(frame)
        if end > HEADER + CAPACITY:
            raise JournalFull(f"an example of more than {CAPACITY} bytes cannot be journalled")
        self._map[start:end] = frame
        _WORD.pack_into(self._map, self._end, self._generation & 0xFFFFFFFF)
        self._end = end


class JournalReader:
    """The reading side, for the process that watches."""

    def __init__(self, fd: int) -> None:
        self._map = mmap.mmap(fd, HEADER + CAPACITY, access=mmap.ACCESS_READ)

    def pulse(self) -> Pulse:
        counter = _COUNTER.unpack_from
        return Pulse(
            beats=counter(self._map, _BEATS)[0],
            examples=counter(self._map, _EXAMPLES)[0],
            operations=counter(self._map, _OPERATIONS)[0],
            phase=Phase(self._map[_PHASE]),
            minimizing=bool(self._map[_PURPOSE]),
        )

    def entry(self) -> Entry:
        """The current example as far as it was written; a torn last record is left out."""
        pulse = self.pulse()
        records = self._records()
        return Entry(
            phase=pulse.phase,
            minimizing=pulse.minimizing,
            examples=pulse.examples,
            operations_total=pulse.operations,
            configuration=decode_fields(Configuration, records[0]) if records else None,
            operations=tuple(_decoded(*data) for data in records[1:]),
            core=self._map[_CORE : _CORE + _CORE_BYTES].rstrip(b"\0").decode(),
        )

    def close(self) -> None:
        self._map.close()

    def _records(self) -> list[Any]:
        generation = _COUNTER.unpack_from(self._map, _GENERATION)[0] & 0xFFFFFFFF
        position = HEADER
        records: list[Any] = []
        if generation == 0:
            return records  # no example yet, and all is zero
        while (payload := self._record(position, generation)) is not None:
            records.append(msgspec.json.decode(payload))
            position += _WORD.size + _FRAME.size + len(payload)
        return records

    def _record(self, position: int, generation: int) -> bytes | None:
        start = position + _WORD.size + _FRAME.size
        if start > HEADER + CAPACITY or _WORD.unpack_from(self._map, position)[0] != generation:
            return None
        length, checksum = _FRAME.unpack_from(self._map, position + _WORD.size)
        payload = self._map[start : start + length]
        return payload if len(payload) == length and zlib.crc32(payload) == checksum else None


_NAMES = operations.codec.names
_as_json = msgspec.json.Encoder().encode  # of attrs classes, their fields


def _decoded(name: str, fields: dict[str, Any]) -> Operation:
    operation: Operation = operations.codec.decode({operations.codec.tag: name, **fields})
    return operation


def _frame(data: object) -> bytes:
    payload = _as_json(data)
    return _FRAME.pack(len(payload), zlib.crc32(payload)) + payload
