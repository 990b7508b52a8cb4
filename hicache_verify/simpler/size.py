"""How large a trace is: a tuple, compared from the left."""

from __future__ import annotations

from typing import TypeAlias

from hicache_model import operations as ops
from hicache_model.operations import Operation
from hicache_verify.simpler.configurations import configuration_size
from hicache_verify.simpler.tokens import prefix_numbers, tokens_of
from hicache_verify.trace import Trace

Size: TypeAlias = tuple[int | tuple[int, ...], ...]


def size(trace: Trace) -> Size:
    """Operations, tokens, unusual arguments, amounts, names, then the configuration."""
    operations = trace.operations
    tokens = tuple(token for op in operations for token in tokens_of(op))
    prefixes = {number for numbers in prefix_numbers(operations) for number in numbers}
    return (
        len(operations),
        sum(isinstance(op, ops.REQUEST_OPERATIONS) for op in operations),
        len(tokens),
        sum(len(ops.codec.encode(op)) for op in operations),
        sum(map(_amounts, operations)),
        len(prefixes) - len(set(tokens)),  # one name for several prefixes is hard to read
        tokens,
        sum(getattr(op, "request", 0) for op in operations),
        *configuration_size(trace.configuration),
    )


def _amounts(op: Operation) -> int:
    names = ("count", "chunk", "quota", "priority", "outputs")
    return sum(getattr(op, name, None) or 0 for name in names)
