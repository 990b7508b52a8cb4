"""What a cache is built with. Part of every trace's header: nothing else is needed to build it
again.
"""

from __future__ import annotations

import math
from typing import Any

import attrs

from hicache_model import fields
from hicache_model.policies import is_own_name

WRITE_POLICIES = ("write_back", "write_through", "write_through_selective")
COMPONENTS = ("full", "swa", "mamba")
EVICTION_POLICIES = ("lru", "lfu", "fifo", "mru", "filo", "priority", "slru", "tlru")


@attrs.define(frozen=True, slots=True)
class Configuration:
    """Sizes are tokens and multiples of ``page_size``.

    ``copies`` says when a transfer's bytes move: ``early``, when it is issued, or ``late``, when it
    completes; a real stream may do either. ``eviction_policy`` may also name code of your own
    (``policies.add_own``). ``component`` is what is cached beside full attention: ``full`` stands
    for nothing; ``swa`` keeps KV of the last ``window`` tokens in ``component_slots`` of its own;
    ``mamba`` keeps states, one slot each, and has the io backend ``direct``. With ``state_buffers``
    (SGLang's extra buffer: two where batches overlap, one where they do not) a request keeps states
    for the tree while it computes on: one for each ``state_chunk`` tokens of a forward pass over
    its prompt, and when it decodes at multiples of ``track_interval``; without, pages have one
    token. With ``strip_thinking`` (SGLang's --strip-thinking-cache, from 0.5.11 on) every request
    thinks, and leaves nothing of what it decodes. With ``bigram`` the keys of nodes are pairs of
    neighbouring tokens (keys.py).
    Raises ValueError for sizes that no cache can have.
    """

    write_policy: str = fields.choice(WRITE_POLICIES, "write_back")
    eviction_policy: str = fields.choice(EVICTION_POLICIES, "lru", also=is_own_name)
    page_size: int = fields.integer(1, least=1, most=1024)
    device_slots: int = fields.integer(8, least=1, most=1 << 20)
    host_slots: int = fields.integer(12, least=1, most=1 << 20)
    load_back_threshold: int = fields.integer(1, least=1)
    layers: int = fields.integer(1, least=1, most=64)
    io_backend: str = fields.choice(("direct", "kernel"), "direct")
    copies: str = fields.choice(("late", "early"), "late")
    requests: int = fields.integer(4, least=1, most=1024)
    context_length: int = fields.integer(64, least=2, most=1 << 20)
    component: str = fields.choice(COMPONENTS, "full")
    window: int = fields.integer(4, least=1, most=1 << 20)
    component_slots: int = fields.integer(8, least=1, most=1 << 20)
    state_buffers: int = fields.integer(0, most=2)
    state_chunk: int = fields.integer(1, least=1, most=1 << 20)
    track_interval: int = fields.integer(1, least=1, most=1 << 20)
    strip_thinking: bool = fields.flag(False)
    bigram: bool = fields.flag(False)

    def __attrs_post_init__(self) -> None:
        sized = ("component_slots",) if self.component == "swa" else ()
        for name in ("device_slots", "host_slots", *sized):
            size = getattr(self, name)
            if size % self.page_size:
                raise ValueError(
                    f"{name} is {size}, not a multiple of page_size {self.page_size}; "
                    f"use {max(1, size // self.page_size) * self.page_size}"
                )
        if self.component == "mamba":
            self._refuse_for_mamba()

    def _refuse_for_mamba(self) -> None:
        """What its states need (SGLang 0.5.23: arg_groups/mamba_hook.py, overrides.py).

        Its tree has keys of tokens whatever is_eagle says (unified_tree_core.py).
        """
        if self.bigram:
            raise ValueError("with component mamba keys are tokens: leave out bigram")
        if self.io_backend != "direct":
            raise ValueError(
                f"with component mamba io_backend has to be direct, and is {self.io_backend}"
            )
        page = self.page_size
        if not self.state_buffers:
            if page != 1:
                raise ValueError(
                    f"component mamba without state_buffers has pages of one token, not {page}"
                )
        elif max(self.state_chunk, page) % min(self.state_chunk, page):
            raise ValueError(
                f"of state_chunk and page_size one has to be a multiple of the other, and they are "
                f"{self.state_chunk} and {page}"
            )
        elif self.track_interval % page:
            raise ValueError(
                f"track_interval is {self.track_interval}, not a multiple of page_size {page}"
            )

    @property
    def write_through_threshold(self) -> int:
        """Hits after which a node is backed up: 1 for write_through, 2 for selective."""
        return 2 if self.write_policy == "write_through_selective" else 1

    @property
    def component_host_slots(self) -> int:
        """As many for each of its device slots as the full component has, and a page more."""
        ratio, page = (
            (self.host_slots - self.page_size + 0.5) / self.device_slots,
            self.component_page,
        )
        return (int(self.component_slots * ratio) // page + 1) * page

    @property
    def component_page(self) -> int:
        """Slots of the component's pools that are taken and freed together."""
        return 1 if self.component == "mamba" else self.page_size

    @property
    def state_grid(self) -> int:
        """How far apart the states of one forward pass are that a tree of pages can name."""
        return max(self.state_chunk, self.page_size)

    @property
    def track_grid(self) -> int:
        """The same of the states that a request keeps when it decodes."""
        return math.lcm(self.state_grid, self.track_interval)

    def component_weight(self, length: int) -> int:
        """Slots of the component's pool that the value of a node of ``length`` tokens takes."""
        return 1 if self.component == "mamba" else length

    def with_(self, **changes: Any) -> Configuration:
        return attrs.evolve(self, **changes)
