"""What one example is built with: pools tight enough to collide, and the operations it may use."""

from __future__ import annotations

from typing import Any

import attrs

from hicache_impl.target import Description
from hicache_model.configuration import Configuration
from hicache_model.reference import Reference
from hicache_verify.campaigns.cells import Cell
from hicache_verify.menu import Chooser, Menu
from hicache_verify.sources.emphasis import EMPHASES, EVEN, Emphasis


@attrs.frozen
class Plan:
    """One example: how its cache is built, which operations it draws, and at most how many."""

    configuration: Configuration
    kinds: tuple[type[Any], ...]
    length: int
    emphasis: Emphasis = EVEN

    def menu(self, model: Reference) -> Menu:
        return Menu(model, self.kinds, self.emphasis.weights)


def draw_plan(cell: Cell, target: Description, chooser: Chooser) -> Plan:
    """Pools of a few pages, the host mostly just larger than the device."""
    emphases = EMPHASES[cell.write_policy]
    emphasis = emphases[chooser.index(len(emphases))]
    kinds = emphasis.kinds[chooser.index(len(emphasis.kinds))]
    length = emphasis.lengths[chooser.index(len(emphasis.lengths))]
    configuration = draw_configuration(cell, target, chooser, emphasis)
    return Plan(configuration, kinds, length, emphasis)


def draw_configuration(
    cell: Cell, target: Description, chooser: Chooser, emphasis: Emphasis = EVEN
) -> Configuration:
    page = cell.page_size
    device = emphasis.device_pages[chooser.index(len(emphasis.device_pages))]
    host = device + emphasis.host_extra_pages[chooser.index(len(emphasis.host_extra_pages))]
    if not target.host_may_be_smaller:
        host = max(host, device + 1)
    elif chooser.index(emphasis.small_host) == emphasis.small_host - 1:
        host = 1 + chooser.index(device)
    configuration = Configuration(
        write_policy=cell.write_policy,
        eviction_policy=cell.eviction_policy,
        page_size=page,
        device_slots=device * page,
        host_slots=host * page,
        load_back_threshold=1 + page * (0, 0, 0, 0, 1, 2)[chooser.index(6)],
        layers=(1, 1, 1, 2)[chooser.index(4)],
        io_backend=("direct", "kernel")[chooser.index(2)],
        copies=("late", "early")[chooser.index(2)],
        requests=3,
        context_length=16 * page,
        strip_thinking=cell.strip_thinking,
        bigram=cell.bigram,
    )
    return (
        configuration if cell.component == "full" else _with_component(configuration, cell, chooser)
    )


def _with_component(configuration: Configuration, cell: Cell, chooser: Chooser) -> Configuration:
    """A pool of its own, mostly smaller, and a window from one token to more than a request has."""
    if cell.component == "mamba":
        return _with_states(configuration, chooser)
    page = configuration.page_size
    pages = (4, 3, 5, 6, 8, 2)[chooser.index(6)]
    return configuration.with_(
        component=cell.component,
        component_slots=pages * page,
        window=(1, 2, 3, page, page + 1, 2 * page, 4 * page, 20 * page)[chooser.index(8)],
    )


def _with_states(configuration: Configuration, chooser: Chooser) -> Configuration:
    """A request has states of its own and gives some to the tree: so few make it wait.

    One io backend copies states; and a host pool for them has no fewer pages than layers (0.5.22).
    """
    page = configuration.page_size
    buffers = (0, 2, 0, 1)[chooser.index(4)] if page == 1 else (2, 1)[chooser.index(2)]
    most_layers = configuration.host_slots if page == 1 else 1
    chunks = (1, 2, 3, 4) if page == 1 else (page, 2 * page, 1)
    return configuration.with_(
        component="mamba",
        io_backend="direct",
        layers=min(configuration.layers, most_layers),
        component_slots=(6, 4, 8, 5, 12, 3)[chooser.index(6)] + 2 * buffers,
        state_buffers=buffers,
        state_chunk=chunks[chooser.index(len(chunks))],
        track_interval=page * (1, 2, 3)[chooser.index(3)],
    )
