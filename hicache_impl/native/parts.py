"""What a cache is put together from; what its larger parts share."""

from __future__ import annotations

import attrs

from hicache_impl.native.eviction import DeviceEviction, HostEviction
from hicache_impl.native.kv import KVBuffers
from hicache_impl.native.loading import Loads
from hicache_impl.native.pools import (
    DeviceAllocator,
    HostAllocator,
    PagedAllocator,
    device_allocator,
)
from hicache_impl.native.settings import Settings
from hicache_impl.native.transfer import Engine, engine_for, wants_pinned_host
from hicache_impl.native.tree import RadixTree
from hicache_impl.native.upkeep import Upkeep
from hicache_impl.native.writing import WriteBack, WriteThrough
from hicache_model.policies import Policy


@attrs.frozen(kw_only=True)
class Kinds:
    """The class of each part. A variant of the cache replaces one by a subclass of it."""

    tree: type[RadixTree] = RadixTree
    upkeep: type[Upkeep] = Upkeep
    host_eviction: type[HostEviction] = HostEviction
    device_eviction: type[DeviceEviction] = DeviceEviction
    write_through: type[WriteThrough] = WriteThrough
    write_back: type[WriteBack] = WriteBack
    loads: type[Loads] = Loads
    paged_allocator: type[PagedAllocator] = PagedAllocator


@attrs.frozen
class Parts:
    """The memory of both tiers, the tree over it, and its upkeep."""

    settings: Settings
    tree: RadixTree
    upkeep: Upkeep
    device_pool: DeviceAllocator
    host_pool: HostAllocator
    device_kv: KVBuffers
    host_kv: KVBuffers
    engine: Engine
    policy: Policy


def make_parts(settings: Settings, kinds: Kinds) -> Parts:
    """Everything free, nothing cached."""
    tree = kinds.tree(settings.page_size, settings.bigram)
    device_kv, host_kv = _buffers(settings)
    return Parts(
        settings,
        tree,
        kinds.upkeep(tree),
        device_allocator(settings.device_slots, settings.page_size, kinds.paged_allocator),
        HostAllocator(settings.host_slots),
        device_kv,
        host_kv,
        engine_for(device_kv, host_kv, settings.device, settings.copies, settings.copy_delay),
        settings.policy,
    )


def _buffers(settings: Settings) -> tuple[KVBuffers, KVBuffers]:
    """The device's, with a page of padding in front, and the host's."""
    shape = settings.layers, settings.row_shape
    device_rows = settings.device_slots + settings.page_size
    pinned = wants_pinned_host(settings.device)
    return (
        KVBuffers(device_rows, *shape, settings.dtype, settings.device),
        KVBuffers(settings.host_slots, *shape, settings.dtype, "cpu", pinned),
    )
