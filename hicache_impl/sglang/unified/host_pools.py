"""The pools of a component beside full attention, as the host tier of a cache lists them."""

from __future__ import annotations

from typing import Any

from hicache_impl.sglang.build import Parts, Sizes
from hicache_impl.sglang.errors import RefusedSize


def entry_of(parts: Parts, pool: str, configuration: Sizes) -> Any:
    """Its entry in the group of host pools; RefusedSize where the size is not what was asked."""
    entries = {entry.name.value: entry for entry in parts.cache.host_pool_group.entries}
    host_pool = entries[pool].host_pool
    host_pool.pin_memory = False
    if host_pool.size != configuration.component_host_slots:
        raise RefusedSize(
            f"sglang {parts.loaded.version} made {host_pool.size} host slots for {pool}, not "
            f"{configuration.component_host_slots}; its sizing formula has changed"
        )
    return entries[pool]
