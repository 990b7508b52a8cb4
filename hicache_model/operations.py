"""The operations: everything that can be done to a hierarchical KV cache, as frozen data.

The first group are calls on the cache itself, the second is what a scheduler does with a request.
Rules of a state machine, lines of a trace, steps of a report and arguments of a target are all
these objects. Token ids are integers from 0 up. A namespace is upstream's ``extra_key``, and what
follows a ``#`` in it its ``cache_salt``; to the model it is a name and nothing else.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import attrs

from hicache_model import fields
from hicache_model.codec import Codec
from hicache_model.configuration import COMPONENTS

# -- on the cache itself ---------------------------------------------------------------------------


@attrs.frozen(cache_hash=True)
class Match:
    """Look up the longest cached prefix of ``tokens``; refreshes and may split nodes."""

    tokens: tuple[int, ...] = fields.tokens()
    namespace: str | None = fields.optional_text()


@attrs.frozen(cache_hash=True)
class Touch:
    """Refresh what a waiting request with the prompt ``tokens`` would find; may split nodes.

    The scheduler does so for its queue, the head last, so that eviction spares what is needed soon
    (SGLang 0.5.22 on, touch_prefix).
    """

    tokens: tuple[int, ...] = fields.tokens()
    namespace: str | None = fields.optional_text()


@attrs.frozen(cache_hash=True)
class Insert:
    """Compute KV for ``tokens`` in fresh device slots and give it to the cache.

    ``tokens`` are cut to whole pages, as callers do. Slots that duplicate what the cache already
    holds on the device are freed again. ``chunked`` marks a part of a longer prefill (no hit
    counts).
    """

    tokens: tuple[int, ...] = fields.tokens()
    namespace: str | None = fields.optional_text()
    priority: int = fields.integer(0, most=1 << 20)
    chunked: bool = fields.flag(False)


@attrs.frozen(cache_hash=True)
class EvictDevice:
    """Free at least ``count`` tokens of device memory; under write_back it writes back first.

    Of the pool of ``component``.
    """

    count: int = fields.integer(least=1)
    component: str = fields.choice(COMPONENTS, "full")


@attrs.frozen(cache_hash=True)
class EvictHost:
    """Free at least ``count`` tokens of host memory, of the pool of ``component``."""

    count: int = fields.integer(least=1)
    component: str = fields.choice(COMPONENTS, "full")


@attrs.frozen(cache_hash=True)
class LoadBack:
    """Match ``tokens`` and queue the load of what lies only on the host; all of it or nothing.

    ``quota`` is the number of device tokens that the caller allows (upstream's ``mem_quota``).
    """

    tokens: tuple[int, ...] = fields.tokens()
    namespace: str | None = fields.optional_text()
    quota: int | None = fields.optional_integer()


@attrs.frozen(cache_hash=True)
class StartLoads:
    """Start all queued loads as one transfer."""


@attrs.frozen(cache_hash=True)
class Lock:
    """Match ``tokens`` and lock the path of the last node on the device."""

    tokens: tuple[int, ...] = fields.tokens()
    namespace: str | None = fields.optional_text()


@attrs.frozen(cache_hash=True)
class Unlock:
    """Release one lock that ``Lock`` took on the node whose prefix is exactly ``tokens``."""

    tokens: tuple[int, ...] = fields.tokens()
    namespace: str | None = fields.optional_text()


@attrs.frozen(cache_hash=True)
class LockHost:
    """Match ``tokens`` and pin the host copy of the last backed-up node, as a prefetch does."""

    tokens: tuple[int, ...] = fields.tokens()
    namespace: str | None = fields.optional_text()


@attrs.frozen(cache_hash=True)
class UnlockHost:
    """Release one pin that ``LockHost`` took on the node whose prefix is exactly ``tokens``."""

    tokens: tuple[int, ...] = fields.tokens()
    namespace: str | None = fields.optional_text()


@attrs.frozen(cache_hash=True)
class StartWrites:
    """Start all queued writes as one transfer; only caches that queue their writes know it."""


@attrs.frozen(cache_hash=True)
class CompleteWrites:
    """The oldest ``count`` started write transfers finish, and the cache takes notice."""

    count: int = fields.integer(least=1)


@attrs.frozen(cache_hash=True)
class CompleteLoads:
    """The oldest ``count`` started load transfers finish, and the cache takes notice."""

    count: int = fields.integer(least=1)


@attrs.frozen(cache_hash=True)
class Reset:
    """Forget everything; legal only while nothing is locked or in flight."""


# -- what a scheduler does with a request ----------------------------------------------------------


@attrs.frozen(cache_hash=True)
class BeginRequest:
    """Admit a request: match, load back, lock, allocate, and compute the first ``chunk`` tokens.

    ``tokens`` is the whole prompt; its last token is never taken from the cache. When ``chunk``
    reaches the end of the prompt, the request's KV is given to the cache at once. The last
    ``outputs`` of them the request has decoded itself, before it was retracted.
    """

    request: int = fields.integer(most=1 << 20)
    tokens: tuple[int, ...] = fields.tokens()
    chunk: int = fields.integer(least=1)
    namespace: str | None = fields.optional_text()
    priority: int = fields.integer(0, most=1 << 20)
    outputs: int = fields.integer(0, most=1 << 20)


@attrs.frozen(cache_hash=True)
class ExtendRequest:
    """Give the computed chunk to the cache (chunked), then compute ``chunk`` more prompt tokens."""

    request: int = fields.integer(most=1 << 20)
    chunk: int = fields.integer(least=1)


@attrs.frozen(cache_hash=True)
class DecodeRequest:
    """Compute one more token, ``token``, after the prompt."""

    request: int = fields.integer(most=1 << 20)
    token: int = fields.integer()


@attrs.frozen(cache_hash=True)
class FinishRequest:
    """The request is done: insert its KV, free duplicates and the rest of its row, unlock."""

    request: int = fields.integer(most=1 << 20)


@attrs.frozen(cache_hash=True)
class RetractRequest:
    """The request gives its memory back without inserting, to be admitted again later."""

    request: int = fields.integer(most=1 << 20)


@attrs.frozen(cache_hash=True)
class RetractToHost:
    """As RetractRequest, of a request that decodes, and its KV waits in the host pool.

    Where the host has no room, even after an eviction, the request ends here.
    """

    request: int = fields.integer(most=1 << 20)


@attrs.frozen(cache_hash=True)
class ResumeRequest:
    """A request that waits on the host gets device memory and its KV again, and gives it to the
    cache.
    """

    request: int = fields.integer(most=1 << 20)


@attrs.frozen(cache_hash=True)
class AbortRequest:
    """The client went away: finished if it decodes, released without an insert if it prefills.

    What waits on the host is forgotten. Releases up to 0.5.13 let it compute its prompt first.
    """

    request: int = fields.integer(most=1 << 20)


CACHE_OPERATIONS: tuple[type[Any], ...] = (
    Match,
    Touch,
    Insert,
    EvictDevice,
    EvictHost,
    LoadBack,
    StartLoads,
    Lock,
    Unlock,
    LockHost,
    UnlockHost,
    StartWrites,
    CompleteWrites,
    CompleteLoads,
    Reset,
)
REQUEST_OPERATIONS: tuple[type[Any], ...] = (
    BeginRequest,
    ExtendRequest,
    DecodeRequest,
    FinishRequest,
    RetractRequest,
    RetractToHost,
    ResumeRequest,
    AbortRequest,
)
OPERATIONS = CACHE_OPERATIONS + REQUEST_OPERATIONS

Operation: TypeAlias = (
    Match
    | Touch
    | Insert
    | EvictDevice
    | EvictHost
    | LoadBack
    | StartLoads
    | Lock
    | Unlock
    | LockHost
    | UnlockHost
    | StartWrites
    | CompleteWrites
    | CompleteLoads
    | Reset
    | BeginRequest
    | ExtendRequest
    | DecodeRequest
    | FinishRequest
    | RetractRequest
    | RetractToHost
    | ResumeRequest
    | AbortRequest
)

codec: Codec[Any] = Codec("op", OPERATIONS)


def describe(op: Operation) -> str:
    """One line for people: ``insert [1, 2] priority=3``."""
    data = codec.encode(op)
    words = [data.pop("op").replace("_", " ")]
    for name, value in data.items():
        bare = name in ("tokens", "count", "request")
        words.append(f"{value}" if bare else f"{name}={value}")
    return " ".join(words)
