"""Traces: lossless, strict, and one clear line for everything that is not one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hicache_model import operations
from hicache_model.configuration import EVICTION_POLICIES, WRITE_POLICIES, Configuration
from hicache_model.operations import EvictDevice, Insert
from hicache_verify import trace as traces
from hicache_verify.trace import Trace, TraceError

# -- any trace that the vocabulary can say ---------------------------------------------------------

_token = st.integers(0, (1 << 31) - 1)
_small = st.integers(0, 1 << 20)
_text = st.text(min_size=1, max_size=8)
_ARGUMENTS: dict[str, st.SearchStrategy[Any]] = {
    "tokens": st.lists(_token, min_size=1, max_size=6).map(tuple),
    "namespace": st.none() | _text,
    "priority": _small,
    "chunked": st.booleans(),
    "count": st.integers(1, 1 << 31),
    "quota": st.none() | st.integers(0, 1 << 31),
    "request": _small,
    "chunk": st.integers(1, 1 << 31),
    "token": _token,
}
_OPERATIONS = st.one_of(
    [
        st.builds(cls, **{field.name: _ARGUMENTS[field.name] for field in attrs.fields(cls)})
        for cls in operations.OPERATIONS
    ]
)


@st.composite
def configurations(draw: st.DrawFn) -> Configuration:
    page = draw(st.integers(1, 64))
    return Configuration(
        write_policy=draw(st.sampled_from(WRITE_POLICIES)),
        eviction_policy=draw(st.sampled_from(EVICTION_POLICIES)),
        page_size=page,
        device_slots=page * draw(st.integers(1, 100)),
        host_slots=page * draw(st.integers(1, 100)),
        load_back_threshold=draw(st.integers(1, 10)),
        copies=draw(st.sampled_from(("early", "late"))),
    )


_PLAIN = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
TRACES = st.builds(
    Trace,
    configuration=configurations(),
    target=_text,
    release=_text,
    operations=st.lists(_OPERATIONS, max_size=8),
    provenance=st.dictionaries(
        st.text(max_size=8),
        _PLAIN.filter(lambda value: value not in (float("inf"), float("-inf"))),
        max_size=4,
    ),
)

FOUR = Trace(
    Configuration(),
    "sglang",
    "0.5.10.post1",
    (Insert((1,)), EvictDevice(1), Insert((1, 2)), EvictDevice(2)),
    {"seed": 7, "law": "host-leaves", "seconds": 0.25},
)


@given(TRACES)
def test_what_is_written_is_read_back(trace: Trace) -> None:
    again = traces.loads(traces.dumps(trace))
    assert again == trace
    assert [type(value) for value in again.provenance.values()] == [
        type(value) for value in trace.provenance.values()
    ]


def test_a_file_holds_a_header_and_one_operation_a_line(tmp_path: Path) -> None:
    path = tmp_path / "new" / "four.jsonl"
    traces.write(path, FOUR)
    assert traces.read(path) == FOUR
    header, *lines = path.read_text().splitlines()
    assert json.loads(header)["format"] == 1
    assert lines[0] == '{"op": "insert", "tokens": [1]}'
    assert len(lines) == 4
    assert [entry.name for entry in path.parent.iterdir()] == ["four.jsonl"]


def test_the_announced_number_of_operations_may_be_left_out() -> None:
    header, *lines = traces.dumps(FOUR).splitlines()
    data = json.loads(header)
    del data["operations"], data["provenance"]
    assert traces.loads("\n".join([json.dumps(data), *lines])) == FOUR.with_(provenance={})


# -- everything else gets one line -----------------------------------------------------------------

HEADER = traces.dumps(FOUR.with_(operations=())).rstrip("\n").replace(', "operations": 0', "")
GOOD = '{"op": "insert", "tokens": [1]}'


def _header(**changes: Any) -> str:
    return json.dumps(json.loads(HEADER) | changes)


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("", 0, "the file is empty"),
        ("\n", 1, "empty; every line"),
        (GOOD, 1, "the first line must be a header"),
        (_header(format=2), 1, "format 2 is not known here, only format 1; use the version"),
        (_header(format=True), 1, "format True is not known"),
        (_header(colour="red"), 1, "unknown field 'colour'; a header has format, target"),
        (_header(target=""), 1, "target must be a string of 1 to 256 characters"),
        (_header(release=5), 1, "release must be a string"),
        (_header(configuration=[]), 1, "configuration must be an object"),
        (_header(configuration={"page_size": 3}), 1, "configuration: device_slots is 8"),
        (_header(configuration={"pages": 3}), 1, "configuration: unknown field 'pages'"),
        (_header(provenance={"x": [1]}), 1, "provenance holds 'x': [1]"),
        (_header(provenance=[]), 1, "provenance must be an object"),
        (_header(operations=-1), 1, "operations must be how many follow"),
        (_header(operations=2) + "\n" + GOOD, 2, "announces 2 operations, but 1 follow"),
        ('{"format": 1, "target": "sglang", "release": "1"}', 1, "'configuration' is missing"),
        ('{"format": 1, "format": 1}', 1, "field 'format' is given twice"),
        (HEADER + "\n\n" + GOOD, 2, "empty; every line"),
        (HEADER + "\n" + GOOD[:20], 2, "not JSON: "),
        (HEADER + "\n" + GOOD + "\nnope", 3, "not JSON: Expecting value, column 1"),
        (HEADER + "\n" + GOOD + "\n[]", 3, "expected an object with 'op'"),
        (HEADER + '\n{"op": "explode"}', 2, "unknown op 'explode'; known are "),
        (HEADER + '\n{"op": "insert"}', 2, "insert: field 'tokens' is missing"),
        (HEADER + '\n{"op": "insert", "tokens": []}', 2, "insert: tokens must be a non-empty list"),
        (HEADER + '\n{"op": "insert", "tokens": [true]}', 2, "a token id is an integer"),
        (HEADER + '\n{"op": "reset", "x": 1}', 2, "reset: unknown field 'x'"),
        (HEADER + '\n{"op": "evict_host", "count": NaN}', 2, "NaN is not a number that a trace"),
        (HEADER + '\n{"op": "evict_host", "count": 1e999}', 2, "count must be an integer"),
        (HEADER + '\n{"op": "match", "tokens": [1], "namespace": "\\ud800"}', 2, "surrogate pair"),
        (HEADER + "\n" + "[" * 500_000, 2, "nested too deeply"),
        (HEADER + "\n" + "1" * 5_000, 2, "Exceeds the limit"),
        (HEADER + "\n" + " " * traces.MAX_LINE_BYTES + "1", 2, "more than 1048576 bytes"),
        (" " * traces.MAX_FILE_BYTES + "1", 0, "more than 16777216 bytes"),
        (HEADER + "\n" + "\n".join([GOOD] * 100_001), 100_002, "more than 100000 operations"),
        (b"\x7fELF\x02\x01\x01\x00\xff\xfe\n", 1, "byte 9 is not UTF-8 text"),
        (HEADER.encode() + b"\n\xc3(", 2, "byte 1 is not UTF-8 text"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    text: str | bytes, line: int, words: str, tmp_path: Path
) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(TraceError) as caught:
        traces.read(path)
    message = str(caught.value)
    assert words in message
    assert "\n" not in message
    assert len(message) < 400
    assert (caught.value.path, caught.value.line) == (str(path), line)
    assert message.startswith(f"{path}: line {line}: " if line else f"{path}: ")


@given(st.binary(max_size=200))
def test_no_bytes_get_past_as_anything_but_a_trace_error(data: bytes) -> None:
    with pytest.raises(TraceError):
        traces.loads(data)


@given(st.data())
def test_a_trace_cut_anywhere_is_refused(data: st.DataObject) -> None:
    whole = traces.dumps(FOUR).encode()
    cut = data.draw(st.integers(0, len(whole) - 2))  # without the last newline it is still whole
    with pytest.raises(TraceError):
        traces.loads(whole[:cut])


def test_a_path_that_cannot_be_read(tmp_path: Path) -> None:
    for path, words in (
        (tmp_path / "absent", "cannot be read: No such file or directory"),
        (tmp_path, "cannot be read: Is a directory"),
        ("/dev/null", "not a regular file"),
    ):
        with pytest.raises(TraceError, match=words):
            traces.read(path)


def test_what_could_not_be_read_is_not_written(tmp_path: Path) -> None:
    half = FOUR.with_(operations=(Insert((1,), namespace="\ud800"),))
    with pytest.raises(TraceError, match="line 2: half a surrogate pair"):
        traces.write(tmp_path / "half.jsonl", half)
    with pytest.raises(ValueError, match="which is not an operation"):
        FOUR.with_(operations=("insert",))
    with pytest.raises(TraceError, match="cannot be written"):
        traces.write("/dev/null/x.jsonl", FOUR)
    assert list(tmp_path.iterdir()) == []
