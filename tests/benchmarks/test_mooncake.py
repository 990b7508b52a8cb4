"""Traces of requests: read strictly, and made here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import attrs
import pytest

from benchmarks.conversations import MOST_BLOCKS, conversations
from benchmarks.mooncake import BLOCK, BadRequests, Request, distinct_blocks, prompt, read

GOOD = {"timestamp": 0, "input_length": 700, "output_length": 5, "hash_ids": [0, 7]}


def written(folder: Path, *lines: Any) -> Path:
    path = folder / "requests.jsonl"
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return path


def test_requests_are_read_in_order_and_no_more_than_asked_for(tmp_path: Path) -> None:
    path = written(tmp_path, GOOD, {**GOOD, "timestamp": 5})
    assert [request.timestamp for request in read(path)] == [0, 5]
    assert read(path, 1) == (Request(0, 700, 5, (0, 7)),)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ([1], "not a request"),
        ({"timestamp": 0}, "not a request"),
        ({**GOOD, "extra": 1}, "not a request"),
        ({**GOOD, "hash_ids": "07"}, "hash_ids is no list"),
        ({**GOOD, "hash_ids": [0]}, "1 hash_ids, but 700 tokens are 2 blocks of 512"),
        ({**GOOD, "hash_ids": [0, -1]}, "hash_ids holds -1"),
        ({**GOOD, "hash_ids": [0, True]}, "hash_ids holds True"),
        ({**GOOD, "input_length": 700.5}, "input_length holds 700.5"),
        ({**GOOD, "input_length": 0, "hash_ids": []}, "0 hash_ids"),
    ],
)
def test_what_is_no_request_is_told_with_its_line(tmp_path: Path, line: Any, words: str) -> None:
    with pytest.raises(BadRequests, match="line 2: ") as refused:
        read(written(tmp_path, GOOD, line))
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("text", ["", "nonsense\n", "\n", '{"a": 1'])
def test_other_files_are_no_traces(tmp_path: Path, text: str) -> None:
    path = tmp_path / "other"
    path.write_text(text)
    with pytest.raises(BadRequests, match="other"):
        read(path)


def test_a_file_that_is_not_there_is_no_trace(tmp_path: Path) -> None:
    with pytest.raises(BadRequests, match="cannot be read"):
        read(tmp_path / "none")


def test_prompts_share_as_many_tokens_as_their_first_ids_are_equal() -> None:
    first, second = Request(0, 1024, 1, (3, 4)), Request(0, 1300, 1, (3, 5, 6))
    one, other = prompt(first, 16), prompt(second, 16)
    assert (len(one), len(other)) == (32, 32 + 9)
    assert one[:16] == other[:16]
    assert not set(one[16:]) & set(other[16:])
    assert distinct_blocks([first, second]) == 4


def test_a_last_block_has_at_least_one_token() -> None:
    assert len(prompt(Request(0, BLOCK + 1, 1, (0, 1)), 2)) == 3


def test_made_requests_are_the_same_each_time_and_in_order() -> None:
    made = conversations(200)
    assert made == conversations(200)
    assert made[:50] == conversations(50)
    assert made != conversations(200, seed=1)
    times = [request.timestamp for request in made]
    assert times == sorted(times)


def test_made_requests_are_such_as_the_format_allows(tmp_path: Path) -> None:
    made = conversations(100)
    path = written(tmp_path, *(attrs.asdict(request) for request in made))
    assert read(path) == made
    assert max(len(request.hash_ids) for request in made) <= MOST_BLOCKS


def test_made_requests_share_prefixes_and_a_block_has_one_place() -> None:
    made, before = conversations(300), dict[int, int | None]()
    for request in made:
        previous = None
        for block in request.hash_ids:
            assert before.setdefault(block, previous) == previous
            previous = block
    asked = sum(len(request.hash_ids) for request in made)
    assert 0.3 < 1 - distinct_blocks(made) / asked < 0.7
