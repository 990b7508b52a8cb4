"""Simpler arguments of one operation: its default, shorter lists, smaller numbers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import attrs

from hicache_model.operations import Operation
from hicache_verify.simpler.tokens import evolve
from hicache_verify.trace import Trace

MOST_SINGLE_TOKENS = 64


def simpler_arguments(trace: Trace) -> Iterator[Trace]:
    for index, op in enumerate(trace.operations):
        for changed in _simpler(op):
            operations = (*trace.operations[:index], changed, *trace.operations[index + 1 :])
            yield trace.with_(operations=operations)


def _simpler(op: Operation) -> Iterator[Operation]:
    for field in attrs.fields(type(op)):
        for smaller in _smaller(field, getattr(op, field.name)):
            yield evolve(op, **{field.name: smaller})


def _smaller(field: attrs.Attribute[Any], value: Any) -> Iterator[Any]:
    if field.default is not attrs.NOTHING and value != field.default:
        yield field.default
    if field.name == "tokens":
        yield from _shorter(value)
    elif field.name in ("count", "chunk", "quota", "priority", "outputs") and value is not None:
        yield from smaller_integers(value)


def _shorter(value: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    length = len(value)
    for kept in dict.fromkeys((1, length // 2, length - 1)):
        if 0 < kept < length:
            yield value[:kept]
    if 1 < length <= MOST_SINGLE_TOKENS:
        for index in range(length - 1):
            yield value[:index] + value[index + 1 :]


def smaller_integers(value: int) -> Iterator[int]:
    """1, half of it, one less: what is smaller and at least 1."""
    for smaller in dict.fromkeys((1, value // 2, value - 1)):
        if 1 <= smaller < value:
            yield smaller
