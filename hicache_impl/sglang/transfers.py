"""The transfers that a cache has in flight, and their completion, in stream order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs

from hicache_impl.sglang.build import Parts
from hicache_impl.sglang.device import Copy


@attrs.define(frozen=True, slots=True)
class Transfer:
    """One entry of the controller's ack queue.

    ``complete``: its finish event is done, the cache may not have noticed yet. ``moved``: the bytes
    have moved.
    """

    node_ids: tuple[int, ...]
    host_slots: tuple[int, ...]
    device_slots: tuple[int, ...]
    complete: bool
    moved: bool


def writes_in_flight(parts: Parts) -> tuple[Transfer, ...]:
    """Device to host, in the order of the write stream."""
    return tuple(
        _transfer(ack, host="target_slots", device="source_slots")
        for ack in parts.controller.ack_write_queue
    )


def loads_in_flight(parts: Parts) -> tuple[Transfer, ...]:
    """Host to device, started; loads still queued are in ``controller.load_queue``."""
    return tuple(
        _transfer(ack, host="source_slots", device="target_slots")
        for ack in parts.controller.ack_load_queue
    )


def complete_writes(parts: Parts, count: int) -> int:
    """Finish the next ``count`` writes that are not; how many there were."""
    return _complete(parts.controller.ack_write_queue, count)


def complete_loads(parts: Parts, count: int) -> int:
    """Finish the next ``count`` loads that are not; how many there were."""
    return _complete(parts.controller.ack_load_queue, count)


def _complete(acks: Sequence[Any], count: int) -> int:
    waiting = [ack.finish_event for ack in acks if not ack.finish_event.query()][:count]
    for event in waiting:
        event.synchronize()
    return len(waiting)


def _transfer(ack: Any, host: str, device: str) -> Transfer:
    event = ack.finish_event
    copies: list[Copy] = event.marker.copies
    first = copies[0]  # one copy a layer, all with the same slots
    return Transfer(
        node_ids=tuple(ack.node_ids),
        host_slots=tuple(getattr(first, host).tolist()),
        device_slots=tuple(getattr(first, device).tolist()),
        complete=event.query(),
        moved=all(copy.moved for copy in copies),
    )
