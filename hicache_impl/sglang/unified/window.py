"""The pools of a tree with sliding window attention, and its component among the cache's parts."""

from __future__ import annotations

from typing import Any

import attrs

from hicache_impl.sglang.build import DTYPE, ComponentParts, Parts, Pools, Sizes, request_rows
from hicache_impl.sglang.loader import Loaded
from hicache_impl.sglang.unified.host_pools import entry_of


@attrs.define(frozen=True, slots=True)
class WindowPools(Pools):
    """``allocator`` hands out a full slot and one of the window together."""

    both: Any


def build_pools(loaded: Loaded, configuration: Sizes) -> WindowPools:
    layers = configuration.layers
    both = loaded.module("mem_cache.swa_memory_pool").SWAKVPool(
        size=configuration.device_slots,
        size_swa=configuration.component_slots,
        page_size=configuration.page_size,
        dtype=DTYPE,
        head_num=1,
        head_dim=1,
        full_attention_layer_ids=[*range(layers)],
        swa_attention_layer_ids=[*range(layers, 2 * layers)],
        device="cpu",
        enable_memory_saver=False,
    )
    allocator = loaded.module("mem_cache.allocator.swa").SWATokenToKVPoolAllocator(
        size=configuration.device_slots,
        size_swa=configuration.component_slots,
        page_size=configuration.page_size,
        dtype=DTYPE,
        device="cpu",
        kvcache=both,
        need_sort=False,
    )
    rows = request_rows(loaded, configuration)
    return WindowPools(both.full_kv_pool, allocator, rows, both)


def parameters(configuration: Sizes, kinds: Any) -> dict[str, Any]:
    """What CacheInitParams takes."""
    return {
        "tree_components": (kinds.FULL, kinds.SWA),
        "sliding_window_size": configuration.window,
    }


def with_component(parts: Parts, kinds: Any, configuration: Sizes) -> Parts:
    entry = entry_of(parts, "swa", configuration)
    device_pool, host_pool, allocator = entry.device_pool, entry.host_pool, parts.allocator
    component = ComponentParts(
        kind=kinds.SWA,
        pool="swa",
        device_kv=(device_pool.k_buffer, device_pool.v_buffer),
        host_kv=(host_pool.k_data_refs, host_pool.v_data_refs),
        host_pool=host_pool,
        allocator=allocator.swa_attn_allocator,
        full_allocator=allocator.full_attn_allocator,
        mapping=allocator.full_to_swa_index_mapping,
    )
    return attrs.evolve(parts, component=component)
