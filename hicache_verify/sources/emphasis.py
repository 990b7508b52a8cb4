"""Other odds in some examples: what needs many holders at once hardly comes up among even odds.

Under even odds a load is acknowledged, or a pin released, long before the next one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from hicache_model import operations as ops

DEVICE_PAGES = (4, 4, 3, 5, 6, 2, 8, 12)
LENGTHS = (12, 24, 48)

WITHOUT_REQUESTS = ops.CACHE_OPERATIONS
WITH_REQUESTS = (
    *ops.REQUEST_OPERATIONS,
    ops.Match,
    ops.EvictHost,
    ops.StartWrites,
    ops.CompleteWrites,
    ops.CompleteLoads,
)
KINDS: tuple[tuple[type[Any], ...], ...] = (WITHOUT_REQUESTS, WITH_REQUESTS, ops.OPERATIONS)


@attrs.frozen
class Emphasis:
    """Which ``kinds`` of operations are drawn; ``weights`` replace those of the menu.

    The device has one of ``device_pages`` pages, the example at most one of ``lengths`` operations.
    In one of ``small_host`` examples the host is no larger than the device, where a target allows.
    """

    kinds: tuple[tuple[type[Any], ...], ...] = KINDS
    weights: Mapping[type[Any], int] = attrs.field(factory=dict)
    device_pages: tuple[int, ...] = DEVICE_PAGES
    lengths: tuple[int, ...] = LENGTHS
    small_host: int = 3


EVEN = Emphasis()
LOADS = Emphasis(
    (WITHOUT_REQUESTS, ops.OPERATIONS),
    {
        ops.Insert: 30,
        ops.EvictDevice: 7,
        ops.EvictHost: 1,
        ops.LoadBack: 40,
        ops.StartLoads: 40,
        ops.CompleteLoads: 1,
        ops.Lock: 2,
        ops.LockHost: 1,
        ops.CompleteWrites: 24,
    },
    device_pages=(4, 4, 6, 8),
    lengths=(48,),
)
PINS = Emphasis(
    (WITHOUT_REQUESTS, ops.OPERATIONS),
    {ops.LockHost: 16, ops.UnlockHost: 2, ops.EvictDevice: 20, ops.EvictHost: 12},
    lengths=(48,),
    small_host=1,
)

_MOSTLY_EVEN = (EVEN, EVEN, EVEN, EVEN, LOADS, PINS)
EMPHASES: Mapping[str, tuple[Emphasis, ...]] = {
    "write_back": _MOSTLY_EVEN,
    "write_through": _MOSTLY_EVEN,
    # a node must be used twice before it is on the host, and can be loaded
    "write_through_selective": (EVEN, EVEN, LOADS, LOADS, PINS),
}
"""By write policy: one of these for each example."""
