"""What one example is built with: pools tight enough to collide, and the operations it may use."""

from __future__ import annotations

from typing import Any

import attrs

from hicache_impl.target import Description
from hicache_model import operations as ops
from hicache_model.configuration import Configuration
from hicache_verify.cells import Cell
from hicache_verify.menu import Chooser

DEVICE_PAGES = (4, 4, 3, 5, 6, 2, 8, 12)
HOST_EXTRA_PAGES = (1, 1, 2, 3, 4, 6, 10)
LENGTHS = (12, 24, 48)

WITHOUT_REQUESTS = ops.CACHE_OPERATIONS
WITH_REQUESTS = (
    *ops.REQUEST_OPERATIONS,
    ops.Match,
    ops.EvictHost,
    ops.CompleteWrites,
    ops.CompleteLoads,
)
KINDS: tuple[tuple[type[Any], ...], ...] = (WITHOUT_REQUESTS, WITH_REQUESTS, ops.OPERATIONS)


@attrs.frozen
class Plan:
    """One example: how its cache is built, which operations it draws, and at most how many."""

    configuration: Configuration
    kinds: tuple[type[Any], ...]
    length: int


def draw_plan(cell: Cell, target: Description, chooser: Chooser) -> Plan:
    """Pools of a few pages, the host mostly just larger than the device."""
    kinds = KINDS[chooser.index(len(KINDS))]
    length = LENGTHS[chooser.index(len(LENGTHS))]
    return Plan(draw_configuration(cell, target, chooser), kinds, length)


def draw_configuration(cell: Cell, target: Description, chooser: Chooser) -> Configuration:
    page = cell.page_size
    device = DEVICE_PAGES[chooser.index(len(DEVICE_PAGES))]
    host = device + HOST_EXTRA_PAGES[chooser.index(len(HOST_EXTRA_PAGES))]
    if target.host_may_be_smaller and chooser.index(5) == 4:
        host = 1 + chooser.index(device)
    return Configuration(
        write_policy=cell.write_policy,
        eviction_policy=cell.eviction_policy,
        page_size=page,
        device_slots=device * page,
        host_slots=host * page,
        load_back_threshold=(1, 1, 1, 1, 2, 3)[chooser.index(6)],
        layers=(1, 1, 1, 2)[chooser.index(4)],
        io_backend=("direct", "kernel")[chooser.index(2)],
        copies=("late", "early")[chooser.index(2)],
        requests=3,
        context_length=16 * page,
    )
