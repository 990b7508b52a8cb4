"""Other odds in some examples: what needs many holders at once hardly comes up among even odds.

Under even odds a load is acknowledged, or a pin released, long before the next one. docs/reach.md
tells what each emphasis is for, and the figures that it was chosen by.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from hicache_model import operations as ops

DEVICE_PAGES = (4, 4, 3, 5, 6, 2, 8, 12)
HOST_EXTRA_PAGES = (1, 1, 2, 3, 4, 6, 10)
LENGTHS = (12, 24, 48)

WITHOUT_REQUESTS = ops.CACHE_OPERATIONS
WITH_REQUESTS = (
    *ops.REQUEST_OPERATIONS,
    ops.Match,
    ops.Touch,
    ops.EvictHost,
    ops.StartWrites,
    ops.CompleteWrites,
    ops.CompleteLoads,
)
KINDS: tuple[tuple[type[Any], ...], ...] = (WITHOUT_REQUESTS, WITH_REQUESTS, ops.OPERATIONS)


@attrs.frozen
class Emphasis:
    """Which ``kinds`` of operations are drawn; ``weights`` replace those of the menu.

    The device has one of ``device_pages`` pages, the host one of ``host_extra_pages`` more, and the
    example at most one of ``lengths`` operations. In one of ``small_host`` examples the host is no
    larger than the device, where a target allows that.
    """

    kinds: tuple[tuple[type[Any], ...], ...] = KINDS
    weights: Mapping[type[Any], int] = attrs.field(factory=dict)
    device_pages: tuple[int, ...] = DEVICE_PAGES
    host_extra_pages: tuple[int, ...] = HOST_EXTRA_PAGES
    lengths: tuple[int, ...] = LENGTHS
    small_host: int = 3


EVEN = Emphasis()
LOADS = Emphasis(
    (WITHOUT_REQUESTS, ops.OPERATIONS),
    {
        ops.Insert: 30,
        ops.EvictDevice: 7,
        ops.EvictHost: 2,
        ops.LoadBack: 40,
        ops.StartLoads: 40,
        ops.CompleteLoads: 1,
        ops.Lock: 2,
        ops.LockHost: 1,
        ops.CompleteWrites: 24,
        ops.RetractRequest: 8,
        ops.AbortRequest: 8,
    },
    device_pages=(4, 4, 6, 8),
    lengths=(48,),
)
PINS = Emphasis(
    (WITHOUT_REQUESTS, ops.OPERATIONS),
    {ops.LockHost: 16, ops.UnlockHost: 2, ops.EvictDevice: 20, ops.EvictHost: 12},
    lengths=(48,),
)
PINS_AND_SMALL_HOST = attrs.evolve(PINS, small_host=1)

PRESSURE = Emphasis(
    (WITHOUT_REQUESTS,),
    {
        ops.Insert: 30,
        ops.EvictDevice: 8,
        ops.EvictHost: 1,
        ops.LoadBack: 30,
        ops.StartLoads: 20,
        ops.CompleteLoads: 20,
        ops.Lock: 1,
        ops.LockHost: 1,
        ops.CompleteWrites: 24,
        ops.Reset: 1,
    },
    device_pages=(2, 3, 3, 4),
    host_extra_pages=(0, 1),
    lengths=(48,),
)
HOST_LEAVES = Emphasis(
    (WITHOUT_REQUESTS,),
    {
        ops.Touch: 2,
        ops.Insert: 40,
        ops.EvictDevice: 16,
        ops.LoadBack: 4,
        ops.Lock: 1,
        ops.LockHost: 1,
        ops.StartWrites: 30,
        ops.CompleteWrites: 30,
        ops.Reset: 1,
    },
    device_pages=(4, 5, 6, 8),
    lengths=(48,),
)
RETRACTED = Emphasis(
    (ops.OPERATIONS,),
    {
        ops.EvictHost: 2,
        ops.Reset: 1,
        ops.BeginRequest: 20,
        ops.RetractToHost: 24,
        ops.ResumeRequest: 4,
    },
    host_extra_pages=(0, 1, 1),
    lengths=(48,),
)


def _used_again(emphasis: Emphasis) -> Emphasis:
    """More inserts and fewer evictions, so that nodes are used twice before they go."""
    again = {
        ops.Touch: 2,
        ops.Insert: 30,
        ops.EvictDevice: 7,
        ops.StartWrites: 24,
        ops.CompleteWrites: 24,
    }
    return attrs.evolve(emphasis, weights={**emphasis.weights, **again})


_MOSTLY_EVEN = (EVEN, EVEN, EVEN, EVEN)
EMPHASES: Mapping[str, tuple[Emphasis, ...]] = {
    "write_back": (*_MOSTLY_EVEN, LOADS, PINS_AND_SMALL_HOST, PRESSURE),
    "write_through": (*_MOSTLY_EVEN, LOADS, PINS, PRESSURE),
    # a node must be used twice before it is on the host, and can be loaded
    "write_through_selective": (
        EVEN,
        *map(_used_again, (EVEN, LOADS, LOADS, LOADS, PINS, PRESSURE)),
        HOST_LEAVES,
        _used_again(RETRACTED),
    ),
}
"""By write policy: one of these for each example."""
