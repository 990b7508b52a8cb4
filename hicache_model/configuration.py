"""What a cache is built with. Part of every trace's header: nothing else is needed to build it
again.
"""

from __future__ import annotations

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
    ``mamba`` keeps states, one slot each, and has pages of one token and the io backend ``direct``.
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

    def __attrs_post_init__(self) -> None:
        sized = ("component_slots",) if self.component != "full" else ()
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
        """What its states need (SGLang: page size 1 unless they have an extra buffer)."""
        for name, value, due in (
            ("page_size", self.page_size, 1),
            ("io_backend", self.io_backend, "direct"),
        ):
            if value != due:
                raise ValueError(f"with component mamba {name} has to be {due}, and is {value}")

    @property
    def write_through_threshold(self) -> int:
        """Hits after which a node is backed up: 1 for write_through, 2 for selective."""
        return 2 if self.write_policy == "write_through_selective" else 1

    @property
    def component_host_slots(self) -> int:
        """As many for each of its device slots as the full component has, and a page more."""
        ratio = (self.host_slots - self.page_size + 0.5) / self.device_slots
        return (int(self.component_slots * ratio) // self.page_size + 1) * self.page_size

    def component_weight(self, length: int) -> int:
        """Slots of the component's pool that the value of a node of ``length`` tokens takes."""
        return 1 if self.component == "mamba" else length

    def with_(self, **changes: Any) -> Configuration:
        return attrs.evolve(self, **changes)
