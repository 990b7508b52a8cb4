"""Fewer operations, where leaving out one neighbour after the other no longer helps."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

from hicache_model import operations as ops
from hicache_model.operations import Operation
from hicache_verify.simpler.tokens import Operations, evolve
from hicache_verify.trace import Trace

MOST_PAIRS, MOST_TRIPLES = 24, 12


def fewer_operations(trace: Trace) -> Iterator[Trace]:
    """Short traces without two or three operations that do not stand side by side."""
    count = len(trace.operations)
    for left_out, most in ((3, MOST_TRIPLES), (2, MOST_PAIRS)):
        for chosen in itertools.combinations(range(count), left_out if count <= most else 0):
            yield trace.with_(operations=_without(trace.operations, chosen))


def without_requests(trace: Trace) -> Iterator[Trace]:
    """What a request does, done by one plain operation, or with its prompt in one piece."""
    operations = trace.operations
    for life in _lives(operations):
        first, last = life[0], life[-1]
        for plain in _plain_forms([operations[index] for index in life]):
            for place in dict.fromkeys((last, first)):
                rest = _without(operations, [index for index in life if index != place])
                moved = place - sum(index < place for index in life)
                yield trace.with_(operations=(*rest[:moved], plain, *rest[moved + 1 :]))
        yield trace.with_(operations=_in_one_piece(operations, life))


def _without(operations: Operations, left_out: Sequence[int]) -> Operations:
    return tuple(op for index, op in enumerate(operations) if index not in left_out)


def _lives(operations: Operations) -> list[list[int]]:
    """For each request the places of its operations, from its beginning to its end."""
    lives: list[list[int]] = []
    open_: dict[int, list[int]] = {}
    for index, op in enumerate(operations):
        if isinstance(op, ops.BeginRequest):
            open_[op.request] = [index]
            lives.append(open_[op.request])
        elif getattr(op, "request", None) in open_:
            open_[op.request].append(index)  # type: ignore[union-attr]
    return lives


def _plain_forms(life: Sequence[Operation]) -> Iterator[Operation]:
    begin = life[0]
    assert isinstance(begin, ops.BeginRequest)
    decoded = tuple(op.token for op in life if isinstance(op, ops.DecodeRequest))
    tokens = begin.tokens + decoded
    yield ops.Insert(tokens, begin.namespace, begin.priority)
    yield ops.LoadBack(tokens, begin.namespace)
    yield ops.Match(tokens, begin.namespace)


def _in_one_piece(operations: Operations, life: Sequence[int]) -> Operations:
    begin = operations[life[0]]
    assert isinstance(begin, ops.BeginRequest)
    extends = [index for index in life if isinstance(operations[index], ops.ExtendRequest)]
    whole = evolve(begin, chunk=len(begin.tokens))
    replaced = (*operations[: life[0]], whole, *operations[life[0] + 1 :])
    return _without(replaced, extends)
