"""Traces: lossless, strict, and one clear line for everything that is not one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hicache_model.configuration import Configuration
from hicache_model.operations import EvictDevice, Insert
from hicache_verify import trace as traces
from hicache_verify.trace import Trace, TraceError
from tests.verify.vocabulary import TRACES

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
    assert len(message) < 440
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
