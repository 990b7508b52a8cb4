"""The tokens in a list of operations, and the prefix that each of them ends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import attrs

from hicache_model import operations as ops
from hicache_model.operations import Operation

Operations: TypeAlias = tuple[Operation, ...]
FIRST = 1
"""As people count; 0 is a token too, but reads like padding."""


def evolve(op: Operation, **changes: Any) -> Operation:
    changed: Operation = attrs.evolve(op, **changes)
    return changed


def tokens_of(op: Operation) -> tuple[int, ...]:
    """The tokens that an operation names; those of a decoding request are its one new token."""
    if isinstance(op, ops.DecodeRequest):
        return (op.token,)
    found: tuple[int, ...] = getattr(op, "tokens", ())
    return found


def with_tokens(op: Operation, tokens: tuple[int, ...]) -> Operation:
    """The operation with other tokens; it must have some."""
    if isinstance(op, ops.DecodeRequest):
        return evolve(op, token=tokens[0])
    return evolve(op, tokens=tokens)


def prefix_numbers(operations: Sequence[Operation]) -> list[tuple[int, ...]]:
    """For each token of each operation the number of the prefix that it ends.

    Prefixes are numbered from ``FIRST`` in the order in which they first appear.
    """
    numbers: dict[tuple[int, int], int] = {}
    ends: dict[int, int] = {}
    found = []
    for op in operations:
        at = ends.get(op.request, 0) if isinstance(op, ops.DecodeRequest) else 0
        own = []
        for token in tokens_of(op):
            at = numbers.setdefault((at, token), len(numbers) + FIRST)
            own.append(at)
        if isinstance(op, (ops.BeginRequest, ops.DecodeRequest)):
            ends[op.request] = at
        found.append(tuple(own))
    return found
