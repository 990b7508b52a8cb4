"""How the UnifiedRadixCache of one release is called: what differs, in one table.

The facts are read in each release's own sources below ``sglang/srt``; the file is named in a row.
Nothing else in this package knows a version.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import attrs

from hicache_impl.sglang.differences import abort_by_rid
from hicache_impl.sglang.releases import Range
from hicache_impl.sglang.rows import Row, chosen
from hicache_impl.sglang.unified.request import (
    FilledReq,
    LockedReq,
    PoppedReq,
    PrefixReq,
    ReceiptReq,
    Req,
    RowReq,
    SkippingReq,
)

if TYPE_CHECKING:
    from hicache_impl.sglang.unified.calls import Calls, Held


@attrs.define(frozen=True, slots=True)
class Ways:
    """The ways of one release."""

    #: match result -> how many tokens it says are on the device.
    matched_length: Callable[[Any], int]
    #: (calls, match result) -> the device slots of what was found on the device.
    matched_slots: Callable[[Calls, Any], Any]
    #: first answer of init_load_back -> how many tokens were queued for loading.
    loaded: Callable[[Any], int]
    #: (tokens, whether the request counted its hits before) -> what else InsertParams takes.
    insert_counts: Callable[[int, bool], dict[str, Any]]
    #: (calls, a pin) -> the nodes that it covers.
    pinned: Callable[[Calls, Held], list[Any]]
    #: node -> its last access time, hits, priority, and what is the greater the later it was made;
    #: then, where a node has it, its reach.
    counters: Callable[[Any], tuple[Any, ...]]
    #: (calls, handle): what a request matched is kept while it is loaded back.
    matched_stays: Callable[[Calls, Any], AbstractContextManager[None]]
    #: The request record whose attributes the cache and mem_cache/common.py read.
    request: type[Req]
    #: (calls, rid): the client went away.
    abort: Callable[[Calls, str], None]
    #: (calls, req): the request locks the node that it ends on.
    lock_request: Callable[[Calls, Any], None]
    #: What a request's lock holds and its receipt; None for no lock.
    held_by: Callable[[Any], tuple[Any, Any] | None]
    #: (calls, req) -> the device slots of the prefix that it was admitted with.
    prefix: Callable[[Calls, Any], Any]
    #: (calls, req, chunked): what is computed goes to the tree; the request goes on.
    checkpoint: Callable[[Calls, Any, bool], None]
    #: req -> how many tokens it has then, where the next chunk begins.
    resumes_at: Callable[[Any], int]
    #: (calls): Scheduler.process_batch_result submits the backups that the batch queued.
    end_of_batch: Callable[[Calls], None]
    #: (calls, req, whether its KV goes to the tree first): it gives back its row and its lock.
    release: Callable[[Calls, Any, bool], None]


def _told_length(matched: Any) -> int:
    return int(matched.device_prefix_len)


def _length_of_slots(matched: Any) -> int:
    return len(matched.device_indices)


def _slots_of_path(calls: Calls, matched: Any) -> Any:
    return calls.cache.path_device_indices(matched.last_device_node)


def _slots_of_match(calls: Calls, matched: Any) -> Any:
    return matched.device_indices


def _length(loaded: Any) -> int:
    return int(loaded)


def _beyond(tokens: int, counted: bool) -> dict[str, Any]:
    return {"inserted_len": tokens if counted else 0}


def _chunked(tokens: int, counted: bool) -> dict[str, Any]:
    return {"chunked": counted}


def _pinned_node(calls: Calls, held: Held) -> list[Any]:
    """The node itself: a split leaves it on the lower half."""
    return [held.node]


def _pinned_segment(calls: Calls, held: Held) -> list[Any]:
    """From its node up to where its segment began."""
    if calls.full not in held.receipt.component_host_lock_uuids:
        return []
    begin = held.receipt.component_host_lock_uuids[calls.full]
    nodes = [held.node]
    while nodes[-1].component_data[calls.full].metadata.get("host_uuid") != begin:
        nodes.append(nodes[-1].parent)
    return nodes


_COUNTED = "last_access_time", "hit_count", "priority", "creation_time"
_counted = attrgetter(*_COUNTED)
_with_reach = attrgetter(*_COUNTED, "_tlru_history_len")


def _numbered(node: Any) -> tuple[Any, ...]:
    """Nodes without a priority or a time; their numbers are minted in order."""
    return node.last_access_time, node.hit_count, 0, node.id


@contextmanager
def _pinned_and_locked(calls: Calls, handle: Any) -> Iterator[None]:
    pin, lock = calls.pin(handle), calls.lock(handle)
    yield
    calls.unlock(lock)
    calls.unpin(pin)


def _unguarded(calls: Calls, handle: Any) -> AbstractContextManager[None]:
    return nullcontext()


def _tree_lock(calls: Calls, req: LockedReq) -> None:
    req.lock = calls.cache.lock(req.last_node)


def _tree_lock_of(req: LockedReq) -> Any:
    return req.lock and (req.lock.node, req.lock.receipt)


def _receipt_of(req: ReceiptReq) -> Any:
    return req.last_node, req.lock_receipt


def _not_shown(req: Any) -> None:
    """No component beside full attention is run on these."""


def _receipt(calls: Calls, req: ReceiptReq) -> None:
    req.lock_receipt = calls.lock(req.last_node).receipt


def _nothing_skipped(calls: Calls, req: SkippingReq) -> None:
    calls.lock(req.last_node)
    req.skip_lock_node_ids = {}


def _abort_by_handle(calls: Calls, rid: str) -> None:
    handle = calls.base.CacheRequestHandle(rid=rid, attempt_id=0)
    calls.cache.finish(handle, calls.base.CacheRequestOutcome.ABORT)


def _unheard(calls: Calls, rid: str) -> None:
    """Without a storage tier the cache has nothing to forget."""


def _prefix_of_tree(calls: Calls, req: LockedReq) -> Any:
    return calls.cache.prefix_device_indices(req)


def _prefix_of_request(calls: Calls, req: PrefixReq) -> Any:
    req.prefix_indices = calls.path_slots(req.last_node)
    return req.prefix_indices


def _checkpoint(calls: Calls, req: Any, chunked: bool) -> None:
    calls.common.checkpoint_kv_cache(req, calls.cache)


def _cache_unfinished(calls: Calls, req: Any, chunked: bool) -> None:
    calls.common.maybe_cache_unfinished_req(req, calls.cache, chunked=chunked)


def _after_checkpoint(req: LockedReq) -> int:
    return req.prefix_len


def _after_prefix(req: PrefixReq) -> int:
    return len(req.prefix_indices)


def _release_checkpointed(calls: Calls, req: Any, keep: bool) -> None:
    calls.common.release_kv_cache(req, calls.cache, checkpoint=keep)


def _release_inserted(calls: Calls, req: Any, keep: bool) -> None:
    calls.common.release_kv_cache(req, calls.cache, is_insert=keep)


def _flush(calls: Calls) -> None:
    calls.cache.flush_pending_backups()


def _nothing(calls: Calls) -> None:
    """Writes start when they are decided."""


SINCE_13, BEFORE_13 = Range(since="0.5.13"), Range(before="0.5.13")
SINCE_22, BEFORE_22 = Range(since="0.5.22"), Range(before="0.5.22")
IN_19, IN_16_TO_18 = Range(since="0.5.19", before="0.5.20"), Range("0.5.16", "0.5.19")
IN_20_AND_21, BEFORE_20 = Range(since="0.5.20", before="0.5.22"), Range(before="0.5.20")

TABLE = (
    Row("matched_length", SINCE_22, _told_length, "base_prefix_cache.py MatchResult"),
    Row("matched_length", BEFORE_22, _length_of_slots, "base_prefix_cache.py MatchResult"),
    Row("matched_slots", SINCE_22, _slots_of_path, "base_prefix_cache.py MatchResult"),
    Row("matched_slots", BEFORE_22, _slots_of_match, "base_prefix_cache.py MatchResult"),
    Row("loaded", SINCE_22, _length, "unified_radix_cache.py init_load_back"),
    Row("loaded", BEFORE_22, len, "unified_radix_cache.py init_load_back"),
    Row("insert_counts", SINCE_22, _beyond, "base_prefix_cache.py InsertParams"),
    Row("insert_counts", BEFORE_22, _chunked, "base_prefix_cache.py InsertParams"),
    Row("pinned", SINCE_22, _pinned_segment, "components/full.py release_component_lock"),
    Row("pinned", BEFORE_22, _pinned_node, "components/full.py release_component_lock"),
    Row("counters", Range(since="0.5.21"), _with_reach, "unified_tree_core.py UnifiedTreeNode"),
    Row("counters", Range("0.5.13", "0.5.21"), _counted, "UnifiedTreeNode"),
    Row("counters", BEFORE_13, _numbered, "unified_radix_cache.py UnifiedTreeNode"),
    Row("matched_stays", SINCE_22, _pinned_and_locked, "schedule_policy.py add_one_req"),
    Row("matched_stays", BEFORE_22, _unguarded, "schedule_policy.py add_one_req"),
    Row("request", SINCE_22, LockedReq, "schedule_batch.py Req"),
    Row("request", IN_20_AND_21, ReceiptReq, "schedule_batch.py Req"),
    Row("request", IN_19, SkippingReq, "schedule_batch.py Req"),
    Row("request", IN_16_TO_18, RowReq, "schedule_batch.py Req"),
    Row("request", BEFORE_13, FilledReq, "schedule_batch.py Req"),
    Row("request", Range("0.5.13", "0.5.16"), PoppedReq, "schedule_batch.py Req"),
    Row("abort", Range(since="0.5.20"), _abort_by_handle, "scheduler.py"),
    Row("abort", Range("0.5.13", "0.5.20"), abort_by_rid, "scheduler.py"),
    Row("abort", BEFORE_13, _unheard, "scheduler.py"),
    Row("lock_request", SINCE_22, _tree_lock, "schedule_policy.py"),
    Row("lock_request", IN_20_AND_21, _receipt, "schedule_policy.py"),
    Row("lock_request", BEFORE_20, _nothing_skipped, "schedule_policy.py"),
    Row("held_by", SINCE_22, _tree_lock_of, "schedule_batch.py Req.lock"),
    Row("held_by", IN_20_AND_21, _receipt_of, "schedule_batch.py Req.lock_receipt"),
    Row("held_by", BEFORE_20, _not_shown, ""),
    Row("prefix", SINCE_22, _prefix_of_tree, "allocation.py _prefix_kv_indices"),
    Row("prefix", BEFORE_22, _prefix_of_request, "schedule_policy.py"),
    Row("checkpoint", SINCE_22, _checkpoint, "common.py checkpoint_kv_cache"),
    Row("checkpoint", BEFORE_22, _cache_unfinished, "common.py maybe_cache_unfinished_req"),
    Row("resumes_at", SINCE_22, _after_checkpoint, "common.py checkpoint_kv_cache"),
    Row("resumes_at", BEFORE_22, _after_prefix, "unified_radix_cache.py cache_unfinished_req"),
    Row("end_of_batch", Range(since="0.5.21"), _flush, "scheduler.py process_batch_result"),
    Row("end_of_batch", Range(before="0.5.21"), _nothing, "cache_controller.py write"),
    Row("release", SINCE_22, _release_checkpointed, "common.py release_kv_cache"),
    Row("release", BEFORE_22, _release_inserted, "common.py release_kv_cache"),
)


def ways(version: str) -> Ways:
    return chosen(Ways, TABLE, version)
