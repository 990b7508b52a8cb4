"""Names that go through all operations at once, so that what is equal stays equal."""

from __future__ import annotations

from collections.abc import Iterator

from hicache_verify.simpler.tokens import (
    FIRST,
    Operations,
    evolve,
    prefix_numbers,
    tokens_of,
    with_tokens,
)
from hicache_verify.trace import Trace


def renamed(trace: Trace) -> Iterator[Trace]:
    """Plain names for tokens, requests and namespaces; then without one token after the other."""
    operations = trace.operations
    for change in (_requests_in_order, _tokens_by_prefix, _tokens_in_order):
        yield trace.with_(operations=change(operations))
    for namespace in sorted({n for op in operations if (n := getattr(op, "namespace", None))}):
        yield trace.with_(operations=_without_namespace(operations, namespace))
    for token in sorted({t for op in operations for t in tokens_of(op)}, reverse=True):
        yield trace.with_(operations=_without_token(operations, token))


def _requests_in_order(operations: Operations) -> Operations:
    numbers: dict[int, int] = {}
    for op in operations:
        if hasattr(op, "request"):
            numbers.setdefault(op.request, len(numbers))
    return tuple(
        evolve(op, request=numbers[op.request]) if hasattr(op, "request") else op
        for op in operations
    )


def _tokens_by_prefix(operations: Operations) -> Operations:
    """Each prefix ends in a token of its own: the tree keeps its shape, and is easier to read."""
    numbers = prefix_numbers(operations)
    return tuple(
        with_tokens(op, own) if own else op for op, own in zip(operations, numbers, strict=True)
    )


def _tokens_in_order(operations: Operations) -> Operations:
    """Numbered as they first appear; equal tokens stay equal wherever they stand."""
    numbers: dict[int, int] = {}
    for op in operations:
        for token in tokens_of(op):
            numbers.setdefault(token, len(numbers) + FIRST)
    return tuple(
        with_tokens(op, tuple(numbers[t] for t in tokens_of(op))) if tokens_of(op) else op
        for op in operations
    )


def _without_namespace(operations: Operations, namespace: str) -> Operations:
    return tuple(
        evolve(op, namespace=None) if getattr(op, "namespace", None) == namespace else op
        for op in operations
    )


def _without_token(operations: Operations, token: int) -> Operations:
    """``token`` is gone from every list; an operation with nothing left is gone too."""
    kept = []
    for op in operations:
        left = tuple(t for t in tokens_of(op) if t != token)
        if left == tokens_of(op):
            kept.append(op)
        elif left:
            kept.append(with_tokens(op, left))
    return tuple(kept)
