"""What is simpler than a trace: the candidates that minimizing tries, most daring first.

``size`` says how large a trace is; only candidates that are smaller are ever taken.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import Any, TypeAlias

import attrs

from hicache_model import operations as ops
from hicache_model.configuration import Configuration
from hicache_model.operations import Operation
from hicache_verify.trace import Trace

Operations: TypeAlias = tuple[Operation, ...]
Size: TypeAlias = tuple[int | tuple[int, ...], ...]

FIRST_TOKEN = 1  # as people count; 0 is a token too, but reads like padding


def size(trace: Trace) -> Size:
    """Compared from the left: operations, tokens, unusual arguments, amounts, names, pools."""
    token_lists = [_tokens(op) for op in trace.operations]
    return (
        len(trace.operations),
        sum(map(len, token_lists)),
        sum(len(ops.codec.encode(op)) for op in trace.operations),
        sum(_amounts(op) for op in trace.operations),
        sum(map(sum, token_lists)),
        tuple(token for tokens in token_lists for token in tokens),
        sum(getattr(op, "request", 0) for op in trace.operations),
        *_configuration_size(trace.configuration),
    )


# -- operations ------------------------------------------------------------------------------------


MOST_PAIRS, MOST_TRIPLES = 24, 12


def fewer(trace: Trace) -> Iterator[Trace]:
    """Short traces without two or three operations that do not stand side by side."""
    count = len(trace.operations)
    for left_out, most in ((3, MOST_TRIPLES), (2, MOST_PAIRS)):
        for chosen in itertools.combinations(range(count), left_out if count <= most else 0):
            kept = tuple(op for i, op in enumerate(trace.operations) if i not in chosen)
            yield trace.with_(operations=kept)


def rewritten(trace: Trace) -> Iterator[Trace]:
    """Changes that go through all operations at once, so that equal tokens stay equal."""
    operations = trace.operations
    yield trace.with_(operations=_renamed(operations))
    for namespace in sorted({n for op in operations if (n := getattr(op, "namespace", None))}):
        yield trace.with_(
            operations=tuple(
                _evolve(op, namespace=None) if getattr(op, "namespace", None) == namespace else op
                for op in operations
            )
        )
    for token in sorted({token for op in operations for token in _tokens(op)}, reverse=True):
        yield trace.with_(operations=_without_token(operations, token))


def _renamed(operations: Operations) -> Operations:
    """Tokens and requests numbered in the order in which they first appear."""
    tokens: dict[int, int] = {}
    requests: dict[int, int] = {}
    for op in operations:
        for token in _tokens(op):
            tokens.setdefault(token, len(tokens) + FIRST_TOKEN)
        if hasattr(op, "request"):
            requests.setdefault(op.request, len(requests))
    renamed = (_map_tokens(op, tokens) for op in operations)
    return tuple(
        _evolve(op, request=requests[op.request]) if hasattr(op, "request") else op
        for op in renamed
    )


def _evolve(op: Operation, **changes: Any) -> Operation:
    changed: Operation = attrs.evolve(op, **changes)
    return changed


def _tokens(op: Operation) -> tuple[int, ...]:
    if isinstance(op, ops.DecodeRequest):
        return (op.token,)
    found: tuple[int, ...] = getattr(op, "tokens", ())
    return found


def _map_tokens(op: Operation, mapping: dict[int, int]) -> Operation:
    mapped = tuple(mapping.get(token, token) for token in _tokens(op))
    if isinstance(op, ops.DecodeRequest):
        return _evolve(op, token=mapped[0])
    return _evolve(op, tokens=mapped) if mapped else op


def _without_token(operations: Operations, token: int) -> Operations:
    """``token`` is gone from every list; an operation with nothing left is gone too."""
    kept: list[Operation] = []
    for op in operations:
        left = tuple(t for t in _tokens(op) if t != token)
        if left == _tokens(op):
            kept.append(op)
        elif left:
            kept.append(_evolve(op, tokens=left))
    return tuple(kept)


def _without_namespace(operations: Operations, namespace: str) -> Operations:
    return tuple(
        _evolve(op, namespace=None) if getattr(op, "namespace", None) == namespace else op
        for op in operations
    )


def one_simpler(trace: Trace) -> Iterator[Trace]:
    """Changes of one operation's arguments."""
    for index, op in enumerate(trace.operations):
        for changed in _simpler(op):
            operations = (*trace.operations[:index], changed, *trace.operations[index + 1 :])
            yield trace.with_(operations=operations)


def _simpler(op: Operation) -> Iterator[Operation]:
    for field in attrs.fields(type(op)):
        value = getattr(op, field.name)
        for smaller in _smaller(field, value):
            yield _evolve(op, **{field.name: smaller})


def _smaller(field: attrs.Attribute[Any], value: Any) -> Iterable[Any]:
    """Smaller values of one argument; its default, where it has one, comes first."""
    if field.default is not attrs.NOTHING and value != field.default:
        yield field.default
    if field.name == "tokens":
        yield from _shorter_lists(value)
    elif field.name in ("count", "chunk", "quota", "priority") and value is not None:
        yield from _smaller_integers(value, 1)


def _shorter_lists(value: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    length = len(value)
    for kept in dict.fromkeys((1, length // 2, length - 1)):
        if 0 < kept < length:
            yield value[:kept]
    if 1 < length <= 64:
        for index in range(length - 1):
            yield value[:index] + value[index + 1 :]


def _smaller_integers(value: int, least: int) -> Iterator[int]:
    for smaller in dict.fromkeys((least, value // 2, value - 1)):
        if least <= smaller < value:
            yield smaller


def _amounts(op: Operation) -> int:
    return sum(getattr(op, name, None) or 0 for name in ("count", "chunk", "quota", "priority"))


# -- configuration ---------------------------------------------------------------------------------

_PLAIN: dict[str, Any] = {
    "page_size": 1,
    "layers": 1,
    "copies": "early",
    "eviction_policy": "lru",
    "load_back_threshold": 1,
    "io_backend": "direct",
    "requests": attrs.fields(Configuration).requests.default,
    "context_length": attrs.fields(Configuration).context_length.default,
}


def configured(trace: Trace) -> Iterator[Trace]:
    """The same operations on a simpler cache."""
    configuration = trace.configuration
    changes: list[dict[str, Any]] = [
        {name: value} for name, value in _PLAIN.items() if getattr(configuration, name) != value
    ]
    page = configuration.page_size
    for name in ("device_slots", "host_slots"):
        pages = getattr(configuration, name) // page
        changes += [{name: smaller * page} for smaller in _smaller_integers(pages, 1)]
    for change in changes:
        yield trace.with_(configuration=configuration.with_(**change))


def _configuration_size(configuration: Configuration) -> Size:
    unusual = [getattr(configuration, name) != value for name, value in _PLAIN.items()]
    return (
        configuration.page_size,
        sum(unusual),
        configuration.device_slots + configuration.host_slots,
    )
