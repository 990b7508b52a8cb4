"""The request that a UnifiedRadixCache and mem_cache/common.py see: what they read of a Req.

Slots only: what a release reads and its Req does not have raises AttributeError. Sources:
schedule_batch.py, Req and ReqKvInfo.
"""

from __future__ import annotations

from typing import Any

import attrs

from hicache_impl.sglang.namespaces import KeyParts
from hicache_impl.sglang.thinking import owned_kv_len


@attrs.define(slots=True)
class Kv:
    """ReqKvInfo, without lazy tracking of Mamba states."""

    req_pool_idx: int | None = None
    cache_protected_len: int = 0
    cache_inserted_len: int = 0
    kv_committed_len: int = 0
    kv_allocated_len: int = 0
    mamba_pool_idx: Any = None
    mamba_cow_src_index: Any = None
    mamba_needs_clear: bool = False
    mamba_last_track_seqlen: int | None = None
    mamba_prev_track_seqlen: int | None = None
    mamba_ping_pong_track_buffer: Any = None
    mamba_ping_pong_empty: list[bool] | None = None
    mamba_next_track_idx: int | None = None
    mamba_last_track_idx: int | None = None
    swa_evicted_seqlen: int = 0  # by this name up to 0.5.20
    retraction_backup: Any = None

    @property
    def holds_kv(self) -> bool:
        return self.req_pool_idx is not None

    @property
    def holds_mamba(self) -> bool:
        return self.mamba_pool_idx is not None

    @property
    def is_kv_released(self) -> bool:
        return self.kv_allocated_len == 0

    def mark_kv_released(self) -> None:
        self.kv_allocated_len = 0

    def get_evicted_seqlen(self, component_type: Any) -> int:
        return self.swa_evicted_seqlen

    def set_evicted_seqlen(self, component_type: Any, length: int) -> None:
        self.swa_evicted_seqlen = length

    def swa_dead_lo(self, page_size: int) -> int:
        return self.cache_protected_len


class TreeKv(Kv):
    """Of no request: what is loaded with it is for the tree alone, and no state goes elsewhere."""

    @property
    def holds_mamba(self) -> bool:
        return True


class Req:
    """What every release reads. ``home`` is where the row and the lengths are kept."""

    __slots__ = (
        "cache_salt",
        "done",
        "extend_end",
        "extra_key",
        "finished_len",
        "full_untruncated_fill_ids",
        "kv",
        "kv_rotation_base",
        "last_node",
        "mamba_branching_seqlen",
        "mamba_host_hit_length",
        "origin_input_ids",
        "output_ids",
        "prefix_len",
        "priority",
        "rid",
        "session",
        "session_id",
        "skip_radix_cache_insert",
        "strips_thinking",
        "swa_branching_seqlen",
        "swa_host_hit_length",
    )

    def __init__(self, rid: str, prompt: Any, outputs: Any, namespace: KeyParts, priority: int):
        self.rid = rid
        self.origin_input_ids = prompt
        self.output_ids = outputs
        self.full_untruncated_fill_ids = prompt + outputs
        self.extra_key, self.cache_salt = namespace
        self.priority = priority
        self.session = self.session_id = self.kv_rotation_base = self.finished_len = None
        self.swa_host_hit_length = self.mamba_host_hit_length = 0
        self.swa_branching_seqlen: int | None = None
        self.mamba_branching_seqlen: int | None = None
        self.skip_radix_cache_insert = self.done = self.strips_thinking = False
        self.kv = Kv()
        self.last_node: Any = None
        self.prefix_len = self.extend_end = 0

    @property
    def home(self) -> Any:
        return self.kv

    def computed(self, length: int) -> None:
        """So many tokens have KV in the row."""
        self.home.kv_committed_len = self.kv.kv_allocated_len = length

    def fill(self, length: int) -> None:
        """The first ``length`` tokens to prefill are computed."""
        self.extend_end = length

    def finished(self) -> bool:
        return bool(self.done)

    @property
    def seqlen(self) -> int:
        """With the token that was sampled last, which has no KV yet and is nowhere here."""
        return len(self.origin_input_ids) + len(self.output_ids) + 1

    def starts_at(self, root: Any, unlocked: Any) -> None:
        """Nothing that it has is the tree's (_bind_root_prefix of disaggregation/decode.py).

        ``unlocked`` is the receipt of no lock.
        """
        self.last_node, self.prefix_len = root, 0
        self.kv.cache_protected_len = self.kv.cache_inserted_len = 0

    def owned_kv_len(self) -> int:
        return owned_kv_len(self)

    def effective_kv_committed_len(self) -> int:
        """What ``owned_kv_len`` is called up to 0.5.20."""
        return self.owned_kv_len()

    def get_fill_ids(self) -> Any:
        return self.full_untruncated_fill_ids[: self.extend_end]

    def refresh_fill_ids(self) -> None:
        self.full_untruncated_fill_ids = self.origin_input_ids + self.output_ids


class LockedReq(Req):
    """From 0.5.22: the request holds its lock with the receipt in it."""

    __slots__ = ("lock",)

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.lock: Any = None

    def starts_at(self, root: Any, unlocked: Any) -> None:
        super().starts_at(root, unlocked)
        self.lock = None


class PrefixReq(Req):
    """Up to 0.5.21: the slots of the prefix; a sliding window may give up its part of the lock."""

    __slots__ = ("prefix_indices", "swa_prefix_lock_released")

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.prefix_indices: Any = None
        self.swa_prefix_lock_released = False


class ReceiptReq(PrefixReq):
    """0.5.20 and 0.5.21: the receipt of the lock on ``last_node``."""

    __slots__ = ("lock_receipt",)

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.lock_receipt: Any = None

    def starts_at(self, root: Any, unlocked: Any) -> None:
        super().starts_at(root, unlocked)
        self.lock_receipt = unlocked


class SkippingReq(PrefixReq):
    """0.5.19: which nodes the lock on ``last_node`` left out."""

    __slots__ = ("skip_lock_node_ids", "swa_uuid_for_lock")

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.skip_lock_node_ids: dict[Any, Any] = {}
        self.swa_uuid_for_lock = None


class RowReq(SkippingReq):
    """0.5.16 to 0.5.18: row and lengths are the request's own; ``kv`` tells what is allocated."""

    __slots__ = ("cache_protected_len", "kv_committed_len", "mamba_pool_idx", "req_pool_idx")

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.req_pool_idx: int | None = None
        self.cache_protected_len = self.kv_committed_len = 0
        self.mamba_pool_idx = None

    @property
    def home(self) -> Any:
        return self


class PoppedReq(RowReq):
    """Up to 0.5.15: lengths are asked for when the row is released, each once."""

    __slots__ = ()

    def pop_committed_kv_cache(self) -> int:
        return self.owned_kv_len()

    def pop_overallocated_kv_cache(self) -> tuple[int, int]:
        return self.owned_kv_len(), self.kv_committed_len


class FilledReq(PoppedReq):
    """0.5.12: what is computed is read as a list."""

    __slots__ = ()

    @property
    def fill_ids(self) -> Any:
        return self.get_fill_ids()
