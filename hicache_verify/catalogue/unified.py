"""Defects of UnifiedRadixCache."""

from __future__ import annotations

from hicache_model.configuration import Configuration
from hicache_model.operations import EvictDevice, Insert, LoadBack, LockHost
from hicache_verify.catalogue.entry import Entry, NamedTrace, SourcePatch
from hicache_verify.divergence import Divergence

UNIFIED = "sglang.srt.mem_cache.unified_radix_cache"
BEFORE_0_5_17 = ("0.5.13", "0.5.13.post1", "0.5.14", "0.5.15", "0.5.15.post1", "0.5.16")
FROM_0_5_17_TO_0_5_19 = ("0.5.17", "0.5.18", "0.5.19")
SINCE_0_5_20 = ("0.5.20", "0.5.21", "0.5.22", "0.5.23")


def _broke_its_law(divergence: Divergence) -> bool:
    """The law itself tells the shape."""
    return divergence.kind == "law"


NOTHING_FREED = Entry(
    identifier="27108",
    title="An eviction frees nothing where the host is full",
    references=("#27108", "#27865"),
    laws=("progress",),
    write_policies=("write_back",),
    affected=BEFORE_0_5_17,
    fixed=FROM_0_5_17_TO_0_5_19 + SINCE_0_5_20,
    shown_on=("0.5.16", "0.5.17"),
    traces=(
        NamedTrace(
            "one victim",
            "What the host has is pinned, and the only victim does not fit beside it. Where the "
            "host may be smaller than the device (0.5.15), insert and evict are enough.",
            Configuration(device_slots=4, host_slots=5),
            (
                Insert((1, 2, 3)),
                EvictDevice(3),
                LockHost((1, 2, 3)),
                Insert((4, 5, 6)),
                EvictDevice(1),
            ),
        ),
    ),
    patch=None,
    story=(
        "Up to 0.5.12 a victim for which the host has no room was taken for one that is backed "
        "up. #27108 made _evict_device_leaf return there, so that the node would be dropped, but "
        "nothing drops it: it stays on the device, the eviction frees nothing, and the allocation "
        "that asked for it fails although the device has tokens that nobody uses. Since 0.5.17 "
        "drop_subtree_no_host lets it go without a copy. No line alone mends it."
    ),
    looks_like=_broke_its_law,
    target="sglang-unified",
)

QUOTA_SIGN = Entry(
    identifier="38481",
    title="What a load back locks is added to its quota",
    references=("#38481",),
    laws=("within-quota",),
    write_policies=("write_back", "write_through", "write_through_selective"),
    affected=BEFORE_0_5_17 + FROM_0_5_17_TO_0_5_19,
    fixed=SINCE_0_5_20,
    shown_on=("0.5.19", "0.5.20"),
    traces=(
        NamedTrace(
            "a quota of nothing",
            "The token above the one to be loaded is on the device and unlocked: locking it gives "
            "the load one token of quota, where it should take one away.",
            Configuration(device_slots=4, host_slots=5),
            (Insert((1, 2)), EvictDevice(1), Insert((1,)), LoadBack((1, 2), quota=0)),
        ),
    ),
    patch=SourcePatch(
        UNIFIED,
        "mem_quota is not None and kv_tokens > mem_quota + result.delta\n",
        "mem_quota is not None and kv_tokens + result.delta > mem_quota\n",
    ),
    story=(
        "Before a load back its anchor is locked, and what was evictable above it is no longer to "
        "be had for the request: it has to come out of the quota. HiRadixCache counts it with a "
        "negative sign and adds it; UnifiedRadixCache counts it with a positive one and adds it "
        "too, so the load may take more than its caller allowed. A caller that gives no quota, as "
        "the scheduler does, is not affected."
    ),
    looks_like=_broke_its_law,
    target="sglang-unified",
)
