"""The outcomes: what an operation answers. Lengths are tokens.

The model predicts them exactly, but for slots, which are the cache's own choice: they take no part
in equality and are judged by the laws.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import attrs

from hicache_model import fields
from hicache_model.codec import Codec


@attrs.frozen
class Matched:
    """``device_length`` tokens are on the device; ``host_length`` more only on the host.

    ``component_host_length`` counts those of another component that only the host has, and that
    have to be loaded first.
    """

    device_length: int = fields.integer()
    host_length: int = fields.integer()
    slots: tuple[int, ...] = fields.slots()
    component_host_length: int = fields.integer(0)


@attrs.frozen
class Inserted:
    """``prefix_length`` tokens were on the device already; their fresh slots were freed."""

    prefix_length: int = fields.integer()


@attrs.frozen
class Evicted:
    """The cache says that it freed ``tokens`` of device memory.

    ``component_tokens`` are those of another component's pool.
    """

    tokens: int = fields.integer()
    component_tokens: int = fields.integer(0)


@attrs.frozen
class LoadedBack:
    """``tokens`` were queued for loading; 0 when there was nothing to load or it was refused."""

    tokens: int = fields.integer()


@attrs.frozen
class LoadsStarted:
    """Whether a transfer was started."""

    started: bool = fields.flag(False)


@attrs.frozen
class Admitted:
    """A request began with this much taken from the device and loaded from the host."""

    device_length: int = fields.integer()
    loaded_length: int = fields.integer()


@attrs.frozen
class Retracted:
    """Whether the host had room for the request's KV; where not, the request has ended."""

    saved: bool = fields.flag(False)


@attrs.frozen
class Done:
    """The operation answers nothing."""


@attrs.frozen
class OutOfMemory:
    """The allocator had nothing left after eviction; a server stops here with a RuntimeError."""

    needed: int = fields.integer()


OUTCOMES: tuple[type[Any], ...] = (
    Matched,
    Inserted,
    Evicted,
    LoadedBack,
    LoadsStarted,
    Admitted,
    Retracted,
    Done,
    OutOfMemory,
)
Outcome: TypeAlias = (
    Matched
    | Inserted
    | Evicted
    | LoadedBack
    | LoadsStarted
    | Admitted
    | Retracted
    | Done
    | OutOfMemory
)

codec: Codec[Any] = Codec("outcome", OUTCOMES)
