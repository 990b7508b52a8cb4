"""Request traces in the Mooncake format: one JSON object a line, one request each.

``hash_ids`` names the blocks of 512 prompt tokens, the last one perhaps not full: two requests with
the same first ids share that prefix. ``timestamp`` is milliseconds, the lengths are tokens.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import attrs

BLOCK = 512
FIELDS = ("timestamp", "input_length", "output_length", "hash_ids")
MAX_LENGTH = 1 << 24
MAX_ID = 1 << 31
MAX_LINE = 1 << 20


class BadRequests(ValueError):
    """No trace of requests; ``line`` counts from 1, 0 for the file as a whole."""

    def __init__(self, path: object, line: int, reason: str) -> None:
        super().__init__(f"{path}: line {line}: {reason}" if line else f"{path}: {reason}")
        self.line = line


@attrs.frozen
class Request:
    """ValueError for what no request can be."""

    timestamp: int
    input_length: int
    output_length: int
    hash_ids: tuple[int, ...]

    def __attrs_post_init__(self) -> None:
        for name in FIELDS[:3]:
            _check_integer(name, getattr(self, name), MAX_LENGTH * 1024)
        for block in self.hash_ids:
            _check_integer("hash_ids", block, MAX_ID)
        blocks = -(-self.input_length // BLOCK)
        if not blocks or len(self.hash_ids) != blocks:
            raise ValueError(
                f"{len(self.hash_ids)} hash_ids, but {self.input_length} tokens are "
                f"{blocks} blocks of {BLOCK}"
            )


def read(path: Path, most: int | None = None) -> tuple[Request, ...]:
    """The first ``most`` requests of a file, or all; BadRequests in one line for anything else."""
    try:
        with path.open("rb") as file:
            requests = tuple(_requests(file, path, most))
    except OSError as error:
        raise BadRequests(path, 0, f"cannot be read: {error.strerror}") from None
    if not requests:
        raise BadRequests(path, 0, "the file is empty; each line is one request")
    return requests


def _requests(file: Any, path: Path, most: int | None) -> Iterator[Request]:
    number = 0
    while most is None or number < most:
        line = file.readline(MAX_LINE + 1)
        if not line:
            return
        number += 1
        try:
            yield _request(line)
        except (ValueError, RecursionError) as error:
            reason = " ".join(str(error).split())
            raise BadRequests(path, number, reason) from None


def _request(line: bytes) -> Request:
    if len(line) > MAX_LINE:
        raise ValueError(f"more than {MAX_LINE} bytes")
    data = json.loads(line)
    if not isinstance(data, dict) or sorted(data) != sorted(FIELDS):
        raise ValueError(f"not a request, an object of {', '.join(FIELDS)}")
    if not isinstance(data["hash_ids"], list):
        raise ValueError(f"hash_ids is no list: {data['hash_ids']!r:.60}")
    return Request(**{**data, "hash_ids": tuple(data["hash_ids"])})


def _check_integer(name: str, value: object, most: int) -> None:
    if type(value) is not int or not 0 <= value < most:
        raise ValueError(f"{name} holds {value!r:.60}, which is no integer from 0 to {most - 1}")


def prompt(request: Request, block_tokens: int) -> tuple[int, ...]:
    """Its tokens, ``block_tokens`` for each full block; different blocks have no token in common.

    A block that is not full is shortened in proportion, to one token at least.
    """
    *full, last = request.hash_ids
    rest = request.input_length - BLOCK * len(full)
    lengths = [*[block_tokens] * len(full), -(-rest * block_tokens // BLOCK)]
    tokens: list[int] = []
    for block, length in zip([*full, last], lengths, strict=True):
        start = block * block_tokens
        tokens.extend(range(start, start + length))
    return tuple(tokens)


def distinct_blocks(requests: Sequence[Request]) -> int:
    """How many different blocks there are: the working set."""
    return len({block for request in requests for block in request.hash_ids})
