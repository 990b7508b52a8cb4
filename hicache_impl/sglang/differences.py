"""How the classes of one release are called and looked into: what differs, in one table.

The facts are read in each release's own sources below ``sglang/srt``; the file is named in a row.
Nothing else in the adapter knows a version.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable
from operator import attrgetter, itemgetter
from types import ModuleType
from typing import Any

import attrs

from hicache_impl.sglang.build import Parts
from hicache_impl.sglang.calls import CommonCalls
from hicache_impl.sglang.releases import Range
from hicache_impl.sglang.requests import ArrayReq, KvReq, ListReq, SaltedReq, SizedReq
from hicache_impl.sglang.rows import Row, chosen


@attrs.define(frozen=True, slots=True)
class Differences:
    """The ways of one release. ``base`` is its module mem_cache.base_prefix_cache."""

    #: Token ids as a RadixKey holds them; the two kinds never mix.
    token_ids: Callable[[Iterable[int]], Any]
    #: (cache, key) -> the key of a child in its parent's ``children``.
    child_key: Callable[[Any, Any], Any]
    #: match result -> the node from which init_load_back starts.
    load_from: Callable[[Any], Any]
    #: (base, cache, node, host_hit_length, mem_quota, req) -> (device indices, last node).
    init_load_back: Callable[[ModuleType, Any, Any, int, int | None, Any], tuple[Any, Any]]
    #: value of ongoing_write_through -> the node whose lock waits for the acknowledgement.
    written_node: Callable[[Any], Any]
    #: the same -> the nodes that are published then; None where none are listed.
    published_nodes: Callable[[Any], Any]
    #: The request record whose attributes the cache reads.
    request: type[Any]
    #: (calls, rid): the client went away.
    abort: Callable[[Calls, str], None]
    #: device allocator -> the tensors that make up its free list, in order.
    device_free: Callable[[Any], tuple[Any, ...]]
    #: host pool -> the same.
    host_free: Callable[[Any], tuple[Any, ...]]


def _array(token_ids: Iterable[int]) -> array[int]:
    return array("q", token_ids)


def _itself(value: Any) -> Any:
    return value


def _not_listed(pending: Any) -> None:
    """A split leaves the node alone in the entry, and the half that is new is lost (#16946)."""


def _child_key_of_cache(cache: Any, key: Any) -> Any:
    return cache.get_child_key_fn(key)


def _child_key_of_key(cache: Any, key: Any) -> Any:
    return key.child_key(cache.page_size)


def _load_back_plain(
    base: ModuleType, cache: Any, node: Any, length: int, quota: int | None, req: Any
) -> Any:
    return cache.init_load_back(node, length, quota)


def _load_back_params(node_field: str) -> Callable[..., Any]:
    def call(
        base: ModuleType, cache: Any, node: Any, length: int, quota: int | None, req: Any
    ) -> Any:
        params = base.InitLoadBackParams(
            **{node_field: node}, host_hit_length=length, mem_quota=quota, req=req
        )
        return cache.init_load_back(params)

    return call


def abort_by_rid(calls: CommonCalls, rid: str) -> None:
    calls.cache.release_aborted_request(rid)


def _abort_by_handle(calls: Calls, rid: str) -> None:
    handle = calls.base.CacheRequestHandle(rid=rid, attempt_id=0)
    calls.cache.release_aborted_request(handle)


def _free_and_released(allocator: Any) -> tuple[Any, ...]:
    return (allocator.free_pages, allocator.release_pages)


def _free_and_staged(allocator: Any) -> tuple[Any, ...]:
    if allocator.page_size == 1:
        return _free_and_released(allocator)
    return (allocator.free_pages, *allocator.staged_pages)


def _host_slots(pool: Any) -> tuple[Any, ...]:
    return (pool.free_slots,)


def _host_slots_lazy(pool: Any) -> tuple[Any, ...]:
    return (pool.free_slots, *pool.release_slots)


TABLE = (
    Row("token_ids", Range(before="0.5.13"), list, "radix_cache.py RadixKey"),
    Row("token_ids", Range(since="0.5.13"), _array, "radix_cache.py RadixKey"),
    Row("child_key", Range(before="0.5.11"), _child_key_of_cache, "hiradix_cache.py"),
    Row("child_key", Range(since="0.5.11"), _child_key_of_key, "radix_cache.py RadixKey"),
    Row("load_from", Range(before="0.5.12"), attrgetter("last_host_node"), "schedule_policy.py"),
    Row("load_from", Range(since="0.5.12"), attrgetter("best_match_node"), "schedule_policy.py"),
    Row("init_load_back", Range(before="0.5.10"), _load_back_plain, "hiradix_cache.py"),
    Row(
        "init_load_back",
        Range(since="0.5.10", before="0.5.12"),
        _load_back_params("last_host_node"),
        "base_prefix_cache.py InitLoadBackParams",
    ),
    Row(
        "init_load_back",
        Range(since="0.5.12"),
        _load_back_params("best_match_node"),
        "base_prefix_cache.py InitLoadBackParams",
    ),
    Row("written_node", Range(before="0.5.13"), _itself, "hiradix_cache.py write_backup"),
    Row("written_node", Range(since="0.5.13"), itemgetter(0), "_track_write_through_node"),
    Row("published_nodes", Range(before="0.5.13"), _not_listed, "hiradix_cache.py write_backup"),
    Row("published_nodes", Range(since="0.5.13"), itemgetter(-1), "_track_write_through_node"),
    Row("request", Range(before="0.5.13"), ListReq, "schedule_batch.py Req"),
    Row("request", Range(since="0.5.13", before="0.5.16"), ArrayReq, "schedule_batch.py Req"),
    Row("request", Range(since="0.5.16", before="0.5.18"), SizedReq, "schedule_batch.py Req"),
    Row("request", Range(since="0.5.18", before="0.5.19"), SaltedReq, "schedule_batch.py Req"),
    Row("request", Range(since="0.5.19"), KvReq, "schedule_batch.py Req, ReqKvInfo"),
    Row("abort", Range(before="0.5.20"), abort_by_rid, "hiradix_cache.py"),
    Row("abort", Range(since="0.5.20"), _abort_by_handle, "hiradix_cache.py"),
    Row("device_free", Range(before="0.5.20"), _free_and_released, "allocator*"),
    Row("device_free", Range(since="0.5.20"), _free_and_staged, "allocator/paged.py"),
    Row("host_free", Range(before="0.5.16"), _host_slots, "HostKVCache.free"),
    Row("host_free", Range(since="0.5.16"), _host_slots_lazy, "HostKVCache.free"),
)


def differences(version: str) -> Differences:
    return chosen(Differences, TABLE, version)


class Calls(CommonCalls):
    """The calls on one HiRadixCache."""

    def __init__(self, parts: Parts) -> None:
        self.ways = differences(parts.loaded.version)
        super().__init__(parts, self.ways.token_ids)

    def child(self, node: Any, key: Any) -> Any:
        """The child of ``node`` under the first page of ``key``; None where there is none."""
        return node.children.get(self.ways.child_key(self.cache, key))

    def load_back(self, matched: Any, quota: int | None, req: Any) -> tuple[Any, Any]:
        """Queue the load of what ``matched`` found on the host only."""
        node = self.ways.load_from(matched)
        length = matched.host_hit_length
        return self.ways.init_load_back(self.base, self.cache, node, length, quota, req)

    # -- locks: what is held is the node

    def is_root(self, node: Any) -> bool:
        return node is self.cache.root_node

    def backed_up_from(self, node: Any) -> Any:
        """The node, which a lookup found on the host; None for the root."""
        return None if self.is_root(node) else node

    def lock(self, node: Any) -> Any:
        self.cache.inc_lock_ref(node)
        return node

    def unlock(self, node: Any) -> None:
        self.cache.dec_lock_ref(node)

    def pin(self, node: Any) -> Any:
        node.protect_host()
        return node

    def unpin(self, node: Any) -> None:
        node.release_host()

    def held_node(self, node: Any) -> Any:
        return node
