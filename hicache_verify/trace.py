"""Traces: the durable form of a finding, as JSON lines.

The first line says what was built, each further line is one operation. Reading is strict, bounded,
and evaluates nothing.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn, TypeAlias

import attrs

from hicache_model import operations
from hicache_model.codec import decode_fields, encode_fields
from hicache_model.configuration import Configuration
from hicache_model.operations import Operation

FORMAT = 1
MAX_FILE_BYTES = 16 << 20
MAX_LINE_BYTES = 1 << 20
MAX_OPERATIONS = 100_000
HEADER_FIELDS = ("format", "target", "release", "configuration", "provenance", "operations")

Plain: TypeAlias = str | int | float | bool | None


class TraceError(ValueError):
    """A trace that cannot be read or written; ``line`` counts from 1, 0 for the file as a whole."""

    def __init__(self, reason: str, path: str = "<trace>", line: int = 0) -> None:
        self.path = path
        self.line = line
        self.reason = reason
        shown = path if path.isprintable() else repr(path)
        super().__init__(f"{shown}: line {line}: {reason}" if line else f"{shown}: {reason}")


def _check_name(_: Any, field: attrs.Attribute[Any], value: Any) -> None:
    if type(value) is not str or not 0 < len(value) <= 256:
        raise ValueError(f"{field.name} must be a string of 1 to 256 characters, got {value!r:.60}")


def _as_tuple(operations: Iterable[Operation]) -> tuple[Operation, ...]:
    return tuple(operations)


def _check_operations(_: Any, field: attrs.Attribute[Any], value: tuple[Any, ...]) -> None:
    if len(value) > MAX_OPERATIONS:
        raise ValueError(f"{len(value)} operations, more than {MAX_OPERATIONS}")
    for op in value:
        if type(op) not in operations.codec.names:
            raise ValueError(f"{field.name} holds {op!r:.60}, which is not an operation")


def _check_provenance(_: Any, field: attrs.Attribute[Any], value: Any) -> None:
    if not isinstance(value, Mapping):
        raise ValueError(f"{field.name} must be an object, got {value!r:.60}")
    for name, item in value.items():
        plain = item is None or type(item) in (str, int, float, bool)
        if type(name) is not str or not plain or (type(item) is float and not math.isfinite(item)):
            raise ValueError(
                f"{field.name} holds {name!r:.60}: {item!r:.60};"
                " only strings and finite numbers can be kept"
            )


@attrs.define(frozen=True, slots=True)
class Trace:
    """Everything that is needed to do it again, and where it came from (``provenance``)."""

    configuration: Configuration = attrs.field(
        validator=attrs.validators.instance_of(Configuration)
    )
    target: str = attrs.field(validator=_check_name)
    release: str = attrs.field(validator=_check_name)
    operations: tuple[Operation, ...] = attrs.field(
        converter=_as_tuple, validator=_check_operations
    )
    provenance: Mapping[str, Plain] = attrs.field(
        factory=dict, validator=_check_provenance, hash=False
    )

    def with_(self, **changes: Any) -> Trace:
        return attrs.evolve(self, **changes)


# -- writing ---------------------------------------------------------------------------------------


def dumps(trace: Trace) -> str:
    """The trace as JSON lines; TraceError where ``loads`` would refuse them."""
    header = {
        "format": FORMAT,
        "target": trace.target,
        "release": trace.release,
        "configuration": encode_fields(trace.configuration),
        "provenance": dict(trace.provenance),
        "operations": len(trace.operations),
    }
    lines = []
    for number, data in enumerate([header, *map(operations.codec.encode, trace.operations)], 1):
        with located("<trace>", number):
            lines.append(_encode_line(data))
    text = "\n".join(lines) + "\n"
    if len(text) > MAX_FILE_BYTES:
        raise TraceError(f"{len(text)} bytes, more than {MAX_FILE_BYTES}; minimize the trace first")
    return text


def write(path: str | os.PathLike[str], trace: Trace) -> None:
    """Write the whole file or nothing; its folder is made."""
    text = dumps(trace)
    target = Path(path)
    draft = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        draft.write_text(text, encoding="utf-8", newline="\n")
        os.replace(draft, target)
    except OSError as error:
        with contextlib.suppress(OSError):
            draft.unlink()
        raise TraceError(f"cannot be written: {error.strerror}", str(path)) from None


def _encode_line(data: dict[str, Any]) -> str:
    line = json.dumps(data, allow_nan=False)
    _refuse_half_pairs(line, data)
    if len(line) > MAX_LINE_BYTES:
        raise ValueError(f"{len(line)} bytes, more than {MAX_LINE_BYTES}")
    return line


# -- reading ---------------------------------------------------------------------------------------


def read(path: str | os.PathLike[str]) -> Trace:
    """The trace in a file; TraceError, in one line, for anything else."""
    name = os.fspath(path)
    return _parse(_read_bytes(name), name)


def loads(text: str | bytes) -> Trace:
    """The trace in ``text``."""
    with located("<trace>", 1):
        return _parse(text.encode() if isinstance(text, str) else text, "<trace>")


def _read_bytes(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise TraceError("not a regular file", path)
            return file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise TraceError(f"cannot be read: {error.strerror}", path) from None


def _parse(data: bytes, path: str) -> Trace:
    if not data:
        raise TraceError("the file is empty; a trace begins with a header line", path)
    if len(data) > MAX_FILE_BYTES:
        raise TraceError(f"more than {MAX_FILE_BYTES} bytes, which no trace is", path)
    lines = data.removesuffix(b"\n").split(b"\n")
    with located(path, 1):
        header, announced = _decode_header(decode_line(lines[0]))
    if len(lines) - 1 > MAX_OPERATIONS:
        raise TraceError(f"more than {MAX_OPERATIONS} operations", path, MAX_OPERATIONS + 2)
    ops = []
    for number, line in enumerate(lines[1:], start=2):
        with located(path, number):
            ops.append(operations.codec.decode(decode_line(line)))
    if announced not in (None, len(ops)):
        reason = f"the header announces {announced} operations, but {len(ops)} follow: the file is"
        reason += ' truncated, or was edited (then take "operations" out of the header)'
        raise TraceError(reason, path, len(lines))
    with located(path, 1):
        return Trace(operations=ops, **header)


@contextlib.contextmanager
def located(path: str, line: int) -> Iterator[None]:
    """Gives a ValueError its file and line."""
    try:
        yield
    except TraceError:
        raise
    except json.JSONDecodeError as error:
        raise TraceError(f"not JSON: {error.msg}, column {error.colno}", path, line) from None
    except UnicodeDecodeError as error:
        raise TraceError(f"byte {error.start + 1} is not UTF-8 text", path, line) from None
    except UnicodeEncodeError:
        raise TraceError("half a surrogate pair is not text", path, line) from None
    except RecursionError:
        raise TraceError("nested too deeply", path, line) from None
    except ValueError as error:
        raise TraceError(str(error), path, line) from None


def decode_line(line: bytes) -> Any:
    """One line of strict JSON; ValueError for anything else."""
    if len(line) > MAX_LINE_BYTES:
        raise ValueError(f"more than {MAX_LINE_BYTES} bytes")
    if not line.strip():
        raise ValueError("empty; every line after the header is one operation")
    text = line.decode("utf-8")
    data = json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse_constant)
    _refuse_half_pairs(text, data)
    return data


def _refuse_half_pairs(text: str, data: Any) -> None:
    if "\\u" in text:
        json.dumps(data, ensure_ascii=False).encode()


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    data = dict(pairs)
    if len(data) != len(pairs):
        names = [name for name, _ in pairs]
        repeated = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"field {repeated!r:.60} is given twice")
    return data


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number that a trace can hold")


def _decode_header(data: Any) -> tuple[dict[str, Any], int | None]:
    """The trace's fields without its operations, and how many of those are announced."""
    if not isinstance(data, dict) or "format" not in data:
        raise ValueError(f'the first line must be a header, an object with "format": {FORMAT}')
    if type(data["format"]) is not int or data["format"] != FORMAT:
        raise ValueError(
            f"format {data['format']!r:.60} is not known here, only format {FORMAT}; use the"
            " version of hicache-verify that wrote the trace"
        )
    for name in data:
        if name not in HEADER_FIELDS:
            raise ValueError(f"unknown field {name!r:.60}; a header has {', '.join(HEADER_FIELDS)}")
    for name in ("target", "release", "configuration"):
        if name not in data:
            raise ValueError(f"field {name!r} is missing from the header")
    header = {name: data[name] for name in ("target", "release")}
    header["configuration"] = _decode_configuration(data["configuration"])
    header["provenance"] = data.get("provenance", {})
    announced = data.get("operations")
    if announced is not None and (type(announced) is not int or announced < 0):
        raise ValueError(f"operations must be how many follow, got {announced!r:.60}")
    return header, announced


def _decode_configuration(data: Any) -> Configuration:
    if not isinstance(data, dict):
        raise ValueError(f"configuration must be an object, got {data!r:.60}")
    try:
        return decode_fields(Configuration, data)
    except ValueError as error:
        raise ValueError(f"configuration: {error}") from None
