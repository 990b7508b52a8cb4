"""The pools of a tree with Mamba states, and its component among the cache's parts.

A state is what a request has computed up to one position: a row of the convolution's and one of the
temporal buffer for each layer. Without an extra buffer a request computes in the slot that it gives
to the tree when it ends; with one it has others, in which it keeps states for the tree.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import attrs

from hicache_impl.sglang.build import (
    DTYPE,
    ComponentParts,
    Parts,
    Pools,
    Sizes,
    allocator_of,
)
from hicache_impl.sglang.errors import RefusedSize
from hicache_impl.sglang.loader import Loaded
from hicache_impl.sglang.releases import Range
from hicache_impl.sglang.unified.host_pools import entry_of

#: Up to here a page-first host pool is listed by pages, under the number of its layers.
LISTED_BY_PAGES = Range(before="0.5.23")


def build_pools(loaded: Loaded, configuration: Sizes) -> Pools:
    """Raises RefusedSize where a release cannot build so few host pages, or we so many layers.

    The host's layout keeps the layers of a page together: slots in several layers have no rows.
    """
    pages = configuration.host_slots // configuration.page_size
    if configuration.page_size > 1 and configuration.layers > 1:
        raise RefusedSize(
            f"states beside pages of {configuration.page_size} tokens are run in one layer, not "
            f"{configuration.layers}"
        )
    if loaded.version in LISTED_BY_PAGES and pages < configuration.layers:
        raise RefusedSize(
            f"sglang {loaded.version} cannot build {pages} host pages of {configuration.layers} "
            "layers beside states; take as many pages as layers"
        )
    memory, layers = loaded.module("mem_cache.memory_pool"), configuration.layers
    rows = memory.HybridReqToTokenPool(
        size=configuration.requests,
        mamba_size=configuration.component_slots,
        mamba_spec_state_size=configuration.requests,
        max_context_len=configuration.context_length,
        device="cpu",
        enable_memory_saver=False,
        cache_params=SimpleNamespace(
            shape=SimpleNamespace(conv=[(1,)], temporal=(1,)),
            dtype=SimpleNamespace(conv=DTYPE, temporal=DTYPE),
            is_kda=False,
        ),
        mamba_layer_ids=[*range(layers, 2 * layers)],
        enable_mamba_extra_buffer=configuration.state_buffers > 0,
        enable_overlap_schedule=configuration.state_buffers != 1,
    )
    both = memory.HybridLinearKVPool(
        size=configuration.device_slots,
        dtype=DTYPE,
        page_size=configuration.page_size,
        head_num=1,
        head_dim=1,
        full_attention_layer_ids=[*range(layers)],
        device="cpu",
        mamba_pool=rows.mamba_pool,
    )
    return Pools(both.full_kv_pool, allocator_of(loaded, configuration, both), rows)


def parameters(configuration: Sizes, kinds: Any) -> dict[str, Any]:
    """What CacheInitParams takes."""
    return {
        "tree_components": (kinds.FULL, kinds.MAMBA),
        "enable_mamba_extra_buffer": configuration.state_buffers > 0,
    }


def with_component(parts: Parts, kinds: Any, configuration: Sizes) -> Parts:
    host_pool = entry_of(parts, "mamba", configuration).host_pool
    rows, layers = parts.req_to_token_pool, range(configuration.layers)
    (conv,), temporal = rows.mamba_pool.mamba_cache.conv, rows.mamba_pool.mamba_cache.temporal
    (host_conv,), host_temporal = host_pool.conv_buffer, host_pool.temporal_buffer
    component = ComponentParts(
        kind=kinds.MAMBA,
        pool="mamba",
        device_kv=([conv[i] for i in layers], [temporal[i] for i in layers]),
        host_kv=([host_conv[:, i] for i in layers], [host_temporal[:, i] for i in layers]),
        host_pool=host_pool,
        allocator=rows.mamba_allocator,
        full_allocator=parts.allocator,
    )
    return attrs.evolve(parts, component=component)
