"""What differs between releases, as data. Nothing else in this package compares versions.

Ranges are half open: ``since`` is the first release in it, ``before`` the first one after it. The
facts are of the releases' own sources.
"""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from functools import cache

import attrs

REAL, SYNTHETIC, PLACEHOLDER = "real", "synthetic", "placeholder"

#: Releases that ship a HiRadixCache with evictable_host_leaves, oldest first.
KNOWN = (
    "0.5.9",
    "0.5.10",
    "0.5.10.post1",
    "0.5.11",
    "0.5.12",
    "0.5.12.post1",
    "0.5.13",
    "0.5.13.post1",
    "0.5.14",
    "0.5.15",
    "0.5.15.post1",
    "0.5.16",
    "0.5.17",
    "0.5.18",
    "0.5.19",
    "0.5.20",
)

HIRADIX, UNIFIED = "hiradix", "unified"

#: Releases that ship a UnifiedRadixCache with a host tier, oldest first.
KNOWN_UNIFIED = (
    "0.5.12",
    "0.5.12.post1",
    "0.5.13",
    "0.5.13.post1",
    "0.5.14",
    "0.5.15",
    "0.5.15.post1",
    "0.5.16",
    "0.5.17",
    "0.5.18",
    "0.5.19",
    "0.5.20",
    "0.5.21",
    "0.5.22",
    "0.5.23",
)

#: The same by cache.
KNOWN_OF = {HIRADIX: KNOWN, UNIFIED: KNOWN_UNIFIED}

#: From here on HiRadixCache is gone; in 0.5.19 and 0.5.20 it is shipped, and no server uses it.
UNIFIED_SERVES_SINCE = "0.5.19"

CLASSES = {HIRADIX: "HiRadixCache", UNIFIED: "UnifiedRadixCache"}

#: What an older release's cache does not do.
LACKS = {HIRADIX: "keeps no evictable_host_leaves", UNIFIED: "has no host tier"}

#: What is imported: the cache's own module first, then what it would import only when it runs.
CACHE_MODULES = {
    HIRADIX: ("sglang.srt.mem_cache.hiradix_cache",),
    UNIFIED: (
        "sglang.srt.mem_cache.unified_radix_cache",
        "sglang.srt.mem_cache.hybrid_cache.hybrid_pool_assembler",
    ),
}

_VERSION = re.compile(r"(\d+)\.(\d+)\.(\d+)(?:\.post(\d+))?")


@cache
def order(version: str) -> tuple[int, ...]:
    """A key that sorts releases. Raises ValueError where ``version`` is none."""
    match = _VERSION.match(version)
    if match is None:
        raise ValueError(f"{version!r} is no SGLang version; it looks like 0.5.18 or 0.5.10.post1")
    return tuple(int(part or 0) for part in match.groups())


def is_version(text: str) -> bool:
    return re.fullmatch(r"\d+\.\d+\.\d+(rc\d+)?(\.post\d+)?(\.dev\d+)?", text) is not None


@attrs.define(frozen=True, slots=True)
class Range:
    since: str = "0"
    before: str = ""

    def __contains__(self, version: object) -> bool:
        key = order(str(version))
        after_start = self.since == "0" or order(self.since) <= key
        return after_start and (not self.before or key < order(self.before))


ALWAYS = Range()


def default_cache(version: str) -> str:
    """The cache that a release's servers use, which is taken when none is named."""
    return HIRADIX if version in Range(before=UNIFIED_SERVES_SINCE) else UNIFIED


@attrs.define(frozen=True, slots=True)
class Role:
    """Modules whose names match ``pattern`` are real, synthetic (no ``__init__``) or replaced."""

    role: str
    pattern: str
    releases: Range = ALWAYS


#: What the UnifiedRadixCache needs beyond ROLES; looked at first.
UNIFIED_ROLES = (
    # pools of other models: asked about with isinstance only
    Role(PLACEHOLDER, "sglang.srt.mem_cache.deepseek_v4_memory_pool"),
    Role(REAL, "sglang.srt.mem_cache.hybrid_cache*"),
    Role(SYNTHETIC, "sglang.srt.session"),
    Role(REAL, "sglang.srt.session.streaming_session"),
    Role(REAL, "sglang.srt.utils.rank_consensus_checker"),
    Role(REAL, "sglang.srt.utils.poll_timer"),
    Role(REAL, "sglang.srt.mem_cache.rust_tree_core*"),
    Role(REAL, "sglang.srt.rust_extensions*"),
    # parts of the scheduler: imported by a test for SGLang's own folder, by no cache
    Role(SYNTHETIC, "sglang.srt.managers.scheduler_components"),
    Role(REAL, "sglang.srt.managers.scheduler_components.batch_result_processor"),
    Role(REAL, "sglang.srt.disaggregation.decode_hicache_mixin"),
)

#: The first match holds.
ROLES = (
    Role(SYNTHETIC, "sglang"),
    Role(SYNTHETIC, "sglang.srt"),
    Role(SYNTHETIC, "sglang.srt.managers"),
    Role(PLACEHOLDER, "sglang.srt.mem_cache.hybrid_cache*"),
    Role(PLACEHOLDER, "sglang.srt.mem_cache.cpp_utils*"),
    Role(PLACEHOLDER, "sglang.srt.mem_cache.cpp_radix_tree*"),
    Role(PLACEHOLDER, "sglang.srt.mem_cache.rust_tree_core*"),
    Role(PLACEHOLDER, "sglang.srt.mem_cache.sparsity*"),
    Role(REAL, "sglang.srt.mem_cache.storage"),
    Role(REAL, "sglang.srt.mem_cache.storage.backend_factory"),
    Role(REAL, "sglang.srt.mem_cache.storage.mmap"),
    Role(PLACEHOLDER, "sglang.srt.mem_cache.storage.*"),
    Role(REAL, "sglang.srt.mem_cache"),
    Role(REAL, "sglang.srt.mem_cache.*"),
    Role(REAL, "sglang.srt.managers.cache_controller"),
    Role(REAL, "sglang.srt.environ"),
    Role(REAL, "sglang.srt.constants"),
    # memory_pool asks isinstance(quant_method, UnquantizedKVCacheMethod)
    Role(
        REAL,
        "sglang.srt.layers.quantization.fp4_kv_cache_quant_method",
        Range(since="0.5.16"),
    ),
    # mem_cache.common (evict_from_tree_cache) imports the SWA allocator, which makes checks of it
    Role(REAL, "sglang.srt.utils.invariants", Range(since="0.5.20")),
    Role(PLACEHOLDER, "sglang.*"),
)


def role_of(module: str, version: str, cache: str = HIRADIX) -> str:
    for role in (UNIFIED_ROLES + ROLES) if cache == UNIFIED else ROLES:
        if fnmatchcase(module, role.pattern) and version in role.releases:
            return role.role
    raise ValueError(f"{module} is no module of sglang")


@attrs.define(frozen=True, slots=True)
class Choice:
    """A value for each range of releases; the first range that holds the release decides."""

    rows: tuple[tuple[Range, str], ...]

    def of(self, version: str) -> str:
        for releases, value in self.rows:
            if version in releases:
                return value
        raise LookupError(f"no entry for release {version}")


#: Streams of the controller, as attribute paths: 0.5.18 moved them to l2_transfer.
WRITE_STREAM = Choice(
    (
        (Range(before="0.5.18"), "write_stream"),
        (ALWAYS, "l2_transfer_engine.device_to_host_stream"),
    )
)
LOAD_STREAM = Choice(
    (
        (Range(before="0.5.18"), "load_stream"),
        (ALWAYS, "l2_transfer_engine.host_to_device_stream"),
    )
)

#: Where a host pool that is not larger than the device pool fails an assertion.
HOST_MUST_BE_LARGER = Range(before="0.5.15")

#: Whose servers know --strip-thinking-cache (server_args.py).
STRIPS_THINKING = Range(since="0.5.11")

#: In ``evict_policy.py``; tlru is refused with any other cache than the UnifiedRadixCache.
_POLICIES = ("lru", "lfu", "fifo", "mru", "filo", "priority")
_LATER_POLICIES = {"slru": Range(since="0.5.10"), "tlru": Range(since="0.5.21")}
_LRU_ALONE = Range(before="0.5.13")
"""Releases whose UnifiedRadixCache looks at access times only."""


def eviction_policies(version: str, cache: str = HIRADIX) -> tuple[str, ...]:
    """Those that a cache goes by; it may be given another and not look at it."""
    if cache == UNIFIED and version in _LRU_ALONE:
        return ("lru",)
    later = tuple(name for name, since in _LATER_POLICIES.items() if version in since)
    return _POLICIES + later


def host_may_be_smaller(version: str) -> bool:
    return version not in HOST_MUST_BE_LARGER
