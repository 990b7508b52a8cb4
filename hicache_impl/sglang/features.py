"""Which release a source tree without a version is nearest to, by what its files contain.

Each text is in every release from ``since`` on and in none before (compared over
every release); post releases share the features of the release before them.
"""

from __future__ import annotations

from pathlib import Path

import attrs

from hicache_impl.sglang.errors import NoSuchCache, UnreadableSource

CACHE_FILE = "srt/mem_cache/hiradix_cache.py"
_CONTROLLER = "srt/managers/cache_controller.py"
_PREFIX_CACHE = "srt/mem_cache/base_prefix_cache.py"
_UNIFIED_CACHE = "srt/mem_cache/unified_radix_cache.py"
_UNIFIED_ACTIONS = "srt/mem_cache/unified_cache/cache_action.py"


@attrs.define(frozen=True, slots=True)
class Feature:
    """``text`` is in ``file`` from release ``since`` on."""

    since: str
    file: str
    text: str


#: Newest first.
FEATURES = (
    Feature("0.5.23", _UNIFIED_ACTIONS, "class UpdatePendingBackupOnNodeSplit("),
    Feature("0.5.22", _PREFIX_CACHE, "class TreeLock:"),
    Feature("0.5.21", _UNIFIED_CACHE, "def flush_pending_backups("),
    Feature("0.5.20", _PREFIX_CACHE, "class CacheRequestHandle:"),
    Feature("0.5.19", _CONTROLLER, "class PrefetchAck:"),
    Feature("0.5.18", CACHE_FILE, "def _log_write_ack_metrics("),
    Feature("0.5.17", CACHE_FILE, "def _sync_hicache_ready_counts("),
    Feature("0.5.16", CACHE_FILE, "def _revoke_pending_prefetch("),
    Feature("0.5.15", CACHE_FILE, "def _drain_async_work("),
    Feature("0.5.14", CACHE_FILE, "get_mha_host_pool_cls("),
    Feature("0.5.13", CACHE_FILE, "def _track_write_through_node("),
    Feature("0.5.12", CACHE_FILE, "PrefetchTimeoutConfig,"),
    Feature("0.5.11", CACHE_FILE, "def _all_reduce_attn_groups("),
    Feature("0.5.10", CACHE_FILE, "def inc_lock_ref(self, node: TreeNode) -> IncLockRefResult:"),
    Feature("0.5.9", CACHE_FILE, "evictable_host_leaves"),
)


def nearest_release(root: Path) -> str:
    """The newest release whose feature the tree has."""
    if not any((root / file).exists() for file in (CACHE_FILE, _UNIFIED_CACHE)):
        raise NoSuchCache(f"{root} has no {CACHE_FILE}: nothing to verify there")
    for feature in FEATURES:
        if feature.text in _text(root / feature.file):
            return feature.since
    raise NoSuchCache(
        f"{root / CACHE_FILE} keeps no evictable_host_leaves; {FEATURES[-1].since} is the first "
        "release that does"
    )


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise UnreadableSource(f"cannot read {file}: {error}; check its permissions") from error
