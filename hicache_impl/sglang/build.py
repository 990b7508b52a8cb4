"""Builds one small HiRadixCache, with its pools, from the classes of a loaded release.

KV buffers hold integers exactly: int64, one head of one number, so that what lies in a slot can be
compared as a number.
"""

from __future__ import annotations

import atexit
from operator import attrgetter
from types import SimpleNamespace
from typing import Any, Protocol

import attrs
import torch

from hicache_impl.sglang import releases
from hicache_impl.sglang.clock import CountingClock
from hicache_impl.sglang.device import Device, Stream
from hicache_impl.sglang.errors import RefusedSize
from hicache_impl.sglang.loader import Loaded
from hicache_impl.sglang.placeholders import Settings

DTYPE = torch.int64
PAGE_FIRST = "page_first_direct"


class Sizes(Protocol):
    """What is read of a configuration (hicache_model.configuration.Configuration has it all)."""

    page_size: int
    device_slots: int
    host_slots: int
    write_policy: str
    eviction_policy: str
    load_back_threshold: int | None
    layers: int
    io_backend: str
    copies: str
    requests: int
    context_length: int
    component: str
    window: int
    component_slots: int
    component_host_slots: int
    state_buffers: int
    state_grid: int
    track_grid: int
    strip_thinking: bool
    bigram: bool


@attrs.define(frozen=True, slots=True)
class ComponentParts:
    """Those of a component beside full attention.

    ``kind`` is its ComponentType, ``pool`` the name of its pool in transfers. ``device_kv`` and
    ``host_kv`` are its buffers, those of keys and those of values, by layer; of a state, its two
    parts. ``mapping`` gives its slot for each full one, where it has one for each token.
    """

    kind: Any
    pool: str
    device_kv: tuple[list[Any], list[Any]]
    host_kv: tuple[list[Any], list[Any]]
    host_pool: Any
    allocator: Any
    full_allocator: Any
    mapping: Any = None

    @property
    def has_states(self) -> bool:
        """Whether a node has one value, of its whole prefix, and not one for each token."""
        return self.mapping is None


@attrs.define(frozen=True, slots=True)
class Parts:
    """The real objects of one cache."""

    loaded: Loaded
    cache: Any
    controller: Any
    device_pool: Any
    host_pool: Any
    allocator: Any
    req_to_token_pool: Any
    write_stream: Stream
    load_stream: Stream
    bigram: bool = False
    component: ComponentParts | None = None

    @property
    def device(self) -> Device:
        return self.loaded.around.device

    @property
    def clock(self) -> CountingClock:
        return self.loaded.around.clock


@attrs.define(frozen=True, slots=True)
class Pools:
    """Device memory of one cache, before there is a cache."""

    device_pool: Any
    allocator: Any
    req_to_token_pool: Any


def build(loaded: Loaded, configuration: Sizes) -> Parts:
    """A fresh cache. Raises RefusedSize for pool sizes that this release refuses."""
    refuse_sizes(loaded.version, configuration)
    start_afresh(loaded, configuration)
    pools = build_pools(loaded, configuration)
    cache = _cache(loaded, configuration, pools)
    parts = parts_of(loaded, cache, cache.token_to_kv_pool_host, pools, configuration)
    finish(parts, configuration)
    return parts


def build_pools(loaded: Loaded, configuration: Sizes) -> Pools:
    memory = loaded.module("mem_cache.memory_pool")
    device_pool = memory.MHATokenToKVPool(
        size=configuration.device_slots,
        page_size=configuration.page_size,
        dtype=DTYPE,
        head_num=1,
        head_dim=1,
        layer_num=configuration.layers,
        device="cpu",
        enable_memory_saver=False,
    )
    return Pools(
        device_pool,
        allocator_of(loaded, configuration, device_pool),
        request_rows(loaded, configuration),
    )


def request_rows(loaded: Loaded, configuration: Sizes) -> Any:
    """The release's table of the slots of running requests."""
    return loaded.module("mem_cache.memory_pool").ReqToTokenPool(
        size=configuration.requests,
        max_context_len=configuration.context_length,
        device="cpu",
        enable_memory_saver=False,
    )


def parts_of(
    loaded: Loaded, cache: Any, host_pool: Any, pools: Pools, configuration: Sizes
) -> Parts:
    controller, version = cache.cache_controller, loaded.version
    return Parts(
        loaded=loaded,
        cache=cache,
        controller=controller,
        device_pool=pools.device_pool,
        host_pool=host_pool,
        allocator=pools.allocator,
        req_to_token_pool=pools.req_to_token_pool,
        write_stream=attrgetter(releases.WRITE_STREAM.of(version))(controller),
        load_stream=attrgetter(releases.LOAD_STREAM.of(version))(controller),
        bigram=configuration.bigram,
    )


def refuse_sizes(version: str, sizes: Sizes) -> None:
    if sizes.host_slots <= sizes.device_slots and not releases.host_may_be_smaller(version):
        raise RefusedSize(
            f"sglang {version} wants more host slots than device slots; "
            f"{sizes.host_slots} is not more than {sizes.device_slots}"
        )


def start_afresh(loaded: Loaded, configuration: Sizes) -> None:
    """Everything that a process keeps between caches begins again: clock and counters."""
    loaded.around.clock.reset()
    loaded.around.device.copies = configuration.copies
    loaded.module("mem_cache.radix_cache").TreeNode.counter = 0
    controller = loaded.module("managers.cache_controller")
    controller.CacheOperation.counter = 0
    controller.StorageOperation.counter = 0


def host_ratio(configuration: Sizes) -> float:
    """The ratio from which the release's formula makes exactly ``host_slots``.

    (int(device * ratio) // page + 1) * page, in every release.
    """
    wanted = configuration.host_slots - configuration.page_size
    return (wanted + 0.5) / configuration.device_slots


def _settings(configuration: Sizes) -> dict[str, Any]:
    """Every setting that a release reads, from server_args or (0.5.19) runtime_context."""
    return {
        "hicache_ratio": host_ratio(configuration),
        "hicache_size": 0,
        "hicache_mem_layout": _layout(configuration),
        "hicache_write_policy": configuration.write_policy,
        "hicache_io_backend": configuration.io_backend,
        "hicache_storage_backend": None,
        "hicache_storage_backend_extra_config": None,
        "hicache_storage_prefetch_policy": "best_effort",
        "hicache_host_memory_mode": "cache",
        "disable_hicache_numa_detect": True,  # 0.5.9
        "served_model_name": "none",
        "extra_metric_labels": None,
        "radix_eviction_policy": configuration.eviction_policy,
        "enable_page_major_kv_layout": False,
        "enable_hisparse": False,
        "attn_dcp_size": 1,
        "attn_dcp_rank": 0,
        "attn_tp_size": 1,
        "attn_tp_rank": 0,
        "tp_size": 1,
        "tp_rank": 0,
        "pp_size": 1,
        "pp_rank": 0,
        "dcp_enabled": False,
        "page_size": configuration.page_size,
        "speculative_algorithm": None,
        "strip_thinking_cache": configuration.strip_thinking,
        "enable_unified_memory": False,
        "mamba": _of_states(configuration),
    }


def _of_states(configuration: Sizes) -> SimpleNamespace:
    """What is set of Mamba (0.5.22); but for the extra buffer each by its default."""
    return SimpleNamespace(
        enable_int8_mamba_checkpoint=False,
        enable_mamba_extra_buffer=configuration.state_buffers > 0,
        enable_mamba_extra_buffer_lazy=False,
        mamba_max_states_per_path=-1,
        mamba_track_interval=configuration.track_grid,
        grid=configuration.state_grid,
    )


def _layout(configuration: Sizes) -> str:
    """The host's; states have one of their own with io backend "direct"."""
    return PAGE_FIRST if configuration.component == "mamba" else "layer_first"


def allocator_of(loaded: Loaded, configuration: Sizes, device_pool: Any) -> Any:
    module = loaded.module("mem_cache.allocator")
    common = {"dtype": DTYPE, "device": "cpu", "kvcache": device_pool, "need_sort": False}
    if configuration.page_size == 1:
        return module.TokenToKVPoolAllocator(size=configuration.device_slots, **common)
    return module.PagedTokenToKVPoolAllocator(
        size=configuration.device_slots, page_size=configuration.page_size, **common
    )


def _cache(loaded: Loaded, configuration: Sizes, pools: Pools) -> Any:
    server_args = apply_settings(loaded, configuration)
    params = init_params(loaded, configuration, pools)
    return loaded.module("mem_cache.hiradix_cache").HiRadixCache(params, server_args)


def apply_settings(loaded: Loaded, configuration: Sizes) -> Settings:
    """Put the settings where the release reads them; returns its ``server_args``."""
    server_args = Settings()
    for settings in (server_args, loaded.around.settings):
        settings.__dict__.update(_settings(configuration))
    return server_args


def init_params(loaded: Loaded, configuration: Sizes, pools: Pools, **more: Any) -> Any:
    return loaded.module("mem_cache.cache_init_params").CacheInitParams(
        disable=False,
        req_to_token_pool=pools.req_to_token_pool,
        token_to_kv_pool_allocator=pools.allocator,
        page_size=configuration.page_size,
        eviction_policy=configuration.eviction_policy,
        is_eagle=configuration.bigram,
        **more,
    )


def finish(parts: Parts, configuration: Sizes) -> None:
    cache, host_pool = parts.cache, parts.host_pool
    if hasattr(cache, "shutdown"):  # UnifiedRadixCache from 0.5.19
        atexit.unregister(cache.shutdown)  # it would keep every cache alive
    if configuration.load_back_threshold is not None:
        cache.load_back_threshold = configuration.load_back_threshold
    write_through_threshold = getattr(configuration, "write_through_threshold", None)
    if write_through_threshold is not None:
        cache.write_through_threshold = write_through_threshold
    host_pool.pin_memory = False
    memory = {buffer.data_ptr(): buffer for buffer in _buffers(parts)}
    parts.write_stream.memory = parts.load_stream.memory = memory
    if host_pool.size != configuration.host_slots:
        raise RefusedSize(
            f"sglang {parts.loaded.version} made {host_pool.size} host slots of "
            f"{configuration.host_slots}; its sizing formula has changed"
        )


def by_layer(host_pool: Any) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Keys and values of a host pool of full KV; 0.5.22 lists those of a page first by page."""
    if host_pool.layout != PAGE_FIRST:
        return host_pool.k_data_refs, host_pool.v_data_refs
    layers = range(host_pool.layer_num)
    keys, values = host_pool.k_buffer, host_pool.v_buffer
    return [keys[:, layer] for layer in layers], [values[:, layer] for layer in layers]


def _buffers(parts: Parts) -> list[torch.Tensor]:
    """One buffer for each layer, K and V, device and host."""
    device, host = parts.device_pool, parts.host_pool
    tiers = [(device.k_buffer, device.v_buffer), by_layer(host)]
    if parts.component is not None:
        tiers += [parts.component.device_kv, parts.component.host_kv]
    return [buffer for keys, values in tiers for buffer in (*keys, *values)]
