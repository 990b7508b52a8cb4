"""What a release does differently *on purpose*: one table, each row with its range, reason and
source.

A known bug of a release is never a row here: it is a finding. Releases are compared by the numbers
in their names; a row without ``last`` holds up to today.
"""

from __future__ import annotations

import functools
import re

import attrs


def release_key(release: str) -> tuple[int, ...]:
    """``0.5.10.post1`` -> (0, 5, 10, 1); words that follow the numbers are ignored."""
    match = re.match(r"(\d+(?:\.\d+)*)(?:\.?post(\d+))?", release)
    if match is None:
        raise ValueError(f"{release!r} does not begin with a release number such as 0.5.18")
    numbers = tuple(int(part) for part in match[1].split("."))
    return (*numbers, int(match[2] or 0))


HIRADIX, UNIFIED = "hiradix", "unified"
CACHES = {HIRADIX: "HiRadixCache", UNIFIED: "UnifiedRadixCache"}
"""The kinds of cache, and the classes' names."""


@attrs.define(frozen=True, slots=True)
class Row:
    """One difference: ``name`` is ``value`` in ``cache`` from ``first`` to ``last``, included."""

    name: str
    value: str
    first: str
    last: str | None
    reason: str
    source: str
    cache: str = HIRADIX

    def holds_for(self, release: str, cache: str) -> bool:
        key = release_key(release)
        return (
            cache == self.cache
            and release_key(self.first) <= key
            and (self.last is None or key <= release_key(self.last))
        )


ROWS: tuple[Row, ...] = (
    Row(
        "victim_without_host_room",
        "skip",
        "0.5.9",
        "0.5.14",
        "Under write_back a device leaf that the host has no room for is passed over, and the next "
        "victim is tried. Where that leaves too little freed, the law `progress` speaks.",
        "hiradix_cache.py, evict: `if written > 0` (0.5.11)",
    ),
    Row(
        "victim_without_host_room",
        "drop",
        "0.5.15",
        None,
        "Under write_back a device leaf that the host has no room for leaves the tree together "
        "with what hangs below it, unless something there is pinned on the host.",
        "hiradix_cache.py, _drop_subtree_no_host (0.5.15)",
    ),
    Row(
        "scheduler_evicts",
        "request",
        "0.5.9",
        "0.5.16",
        "When memory is short the scheduler asks eviction for all tokens of the allocation.",
        "mem_cache/common.py, evict_from_tree_cache",
    ),
    Row(
        "scheduler_evicts",
        "shortfall",
        "0.5.17",
        None,
        "When memory is short the scheduler asks eviction only for what is missing.",
        "mem_cache/common.py, evict_from_tree_cache (0.5.17)",
    ),
    Row(
        "abort_in_prefill",
        "waits",
        "0.5.9",
        "0.5.13.post1",
        "A request that is aborted between two chunks of its prompt computes the rest first.",
        "scheduler.py, abort_request (to_finish)",
    ),
    Row(
        "abort_in_prefill",
        "releases",
        "0.5.14",
        None,
        "A request that is aborted between two chunks of its prompt is released without an insert.",
        "scheduler.py, _pending_chunked_abort_req (0.5.14)",
    ),
    Row(
        "prompt_boundary",
        "joined",
        "0.5.9",
        "0.5.19",
        "A finished request is inserted once; prompt and output may share a node.",
        "radix_cache.py, cache_finished_req",
    ),
    Row(
        "prompt_boundary",
        "split",
        "0.5.20",
        None,
        "A finished request's prompt is inserted again, chunked and with priority + 1, so that a "
        "node ends where the prompt ends.",
        "radix_cache.py, cache_finished_req (0.5.20)",
    ),
    Row(
        "retracted_kv",
        "forgotten",
        "0.5.9",
        None,
        "The KV of a request that is retracted goes; a server that only decodes keeps it outside "
        "of the cache.",
        "schedule_batch.py, release_req",
    ),
    Row(
        "waiting_prefixes",
        "left",
        "0.5.9",
        None,
        "The prefixes of waiting requests are refreshed by lookups alone.",
        "schedule_policy.py, calc_priority",
    ),
    Row(
        "lookup_refreshes",
        "whole_node",
        "0.5.9",
        None,
        "A lookup that ends inside a node gives the whole node a new access time before it splits "
        "it, so the half that nobody asked for counts as used too. RadixCache does the same. "
        "Order only.",
        "hiradix_cache.py, _match_prefix_helper and insert",
    ),
    Row(
        "hits_under_write_back",
        "none",
        "0.5.9",
        None,
        "Hits are counted only to decide on a backup, so under write_back none are, and the "
        "policies lfu and slru order nodes as lru does. Tolerated: order only.",
        "hiradix_cache.py, _inc_hit_count",
    ),
    Row(
        "insert_priority_reaches",
        "whole_node",
        "0.5.9",
        None,
        "An insert that ends inside a node raises the priority of the whole node before it splits "
        "it; RadixCache._insert_helper raises only the shared half. Tolerated: it changes eviction "
        "order under the policy `priority`, no content.",
        "hiradix_cache.py, insert",
    ),
    Row(
        "split_refreshes",
        "neither_half",
        "0.5.9",
        None,
        "A split gives its upper half a new time and leaves the lower half as it was visited.",
        "hiradix_cache.py, _split_node",
    ),
    Row(
        "split_creation",
        "now",
        "0.5.9",
        None,
        "The upper half of a split node is as new as the split. Order only.",
        "hiradix_cache.py, _split_node",
    ),
    Row(
        "split_hits",
        "both_halves",
        "0.5.9",
        None,
        "Both halves of a split node have the hits that it had.",
        "hiradix_cache.py, _split_node",
    ),
    Row(
        "split_pins",
        "lower_half",
        "0.5.9",
        None,
        "A pin of a host copy stays with the lower half of a split node.",
        "hiradix_cache.py, _split_node (host_ref_counter is not copied)",
    ),
    Row(
        "host_pins",
        "counted",
        "0.5.9",
        None,
        "A host copy can be pinned, by several holders at a time.",
        "hiradix_cache.py, protect_host",
    ),
    Row(
        "host_leaf",
        "no_backed_up_child",
        "0.5.9",
        None,
        "A host leaf is evicted, unlocked and has no child that is backed up; pinned ones are "
        "members and are passed over.",
        "hiradix_cache.py, _update_host_leaf_status",
    ),
    Row(
        "backup_of_orphan",
        "refused",
        "0.5.9",
        None,
        "A node is backed up only when its parent is; otherwise it waits for its next hit. Up to "
        "0.5.10.post1 it was not refused, which broke the backup prefix: a finding.",
        "hiradix_cache.py, write_backup (0.5.11)",
    ),
    Row(
        "writes_start",
        "one_by_one",
        "0.5.9",
        None,
        "A write starts when it is decided, as a transfer of its own.",
        "cache_controller.py, write",
    ),
    Row(
        "write_back_waits",
        "at_the_end",
        "0.5.9",
        None,
        "Under write_back an eviction waits for its copies when it has chosen all its victims; "
        "until then they are pinned on the host.",
        "hiradix_cache.py, evict",
    ),
    Row(
        "host_room_asked",
        "request",
        "0.5.9",
        None,
        "A backup without host room asks for its whole length.",
        "hiradix_cache.py, write_backup",
    ),
    Row(
        "backup_without_room",
        "evicts_anyway",
        "0.5.9",
        None,
        "A backup for which eviction makes too little room on the host is given up when everything "
        "that could go has gone. Tolerated in campaigns; the catalogue has it as a defect.",
        "hiradix_cache.py, write_backup",
    ),
    Row(
        "host_pressure",
        "leaves",
        "0.5.9",
        None,
        "Host memory is made free by removing host leaves.",
        "hiradix_cache.py, evict_host",
    ),
    Row(
        "load_back_evicts",
        "request",
        "0.5.9",
        None,
        "A load back without device room evicts its whole length.",
        "hiradix_cache.py, load_back",
    ),
    Row(
        "load_pins",
        "until_return",
        "0.5.9",
        None,
        "The host copies of a load are pinned while it is decided; then only its device lock "
        "keeps it.",
        "hiradix_cache.py, load_back",
    ),
    Row(
        "revived_counts",
        "no",
        "0.5.9",
        None,
        "An insert over an evicted node gives it new device KV and counts no hit.",
        "hiradix_cache.py, insert",
    ),
    Row(
        "insert_answers",
        "on_device",
        "0.5.9",
        None,
        "An insert answers how much was on the device already.",
        "hiradix_cache.py, insert",
    ),
    Row(
        "request_counts",
        "each_insert",
        "0.5.9",
        None,
        "Each insert that is not a chunk counts a hit on every node it passes.",
        "hiradix_cache.py, insert",
    ),
    Row(
        "unfinished_request",
        "matches_again",
        "0.5.9",
        None,
        "A request that goes on after an insert looks its prefix up again, and locks what it "
        "finds.",
        "radix_cache.py, cache_unfinished_req",
    ),
    Row(
        "finished_request",
        "leaves",
        "0.5.9",
        None,
        "A request that ends leaves the tree as its insert made it.",
        "radix_cache.py, cache_finished_req",
    ),
    Row(
        "victim_without_host_room",
        "skip",
        "0.5.12",
        "0.5.16",
        "Under write_back a device leaf that the host has no room for is passed over, and the next "
        "victim is tried. Where that leaves too little freed, the law `progress` speaks.",
        "unified_radix_cache.py, _evict_device_leaf (0.5.13)",
        UNIFIED,
    ),
    Row(
        "victim_without_host_room",
        "drop",
        "0.5.17",
        None,
        "Under write_back a device leaf that the host has no room for leaves the tree together "
        "with what hangs below it, unless something there is locked or pinned.",
        "unified_cache/unified_tree_core.py, drop_subtree_no_host",
        UNIFIED,
    ),
    Row(
        "scheduler_evicts",
        "request",
        "0.5.12",
        "0.5.16",
        "When memory is short the scheduler asks eviction for all tokens of the allocation.",
        "mem_cache/common.py, evict_from_tree_cache",
        UNIFIED,
    ),
    Row(
        "scheduler_evicts",
        "shortfall",
        "0.5.17",
        None,
        "When memory is short the scheduler asks eviction only for what is missing.",
        "allocator/base.py, evict_to_free_tokens",
        UNIFIED,
    ),
    Row(
        "abort_in_prefill",
        "waits",
        "0.5.12",
        "0.5.13.post1",
        "A request that is aborted between two chunks of its prompt computes the rest first.",
        "scheduler.py, abort_request (to_finish)",
        UNIFIED,
    ),
    Row(
        "abort_in_prefill",
        "releases",
        "0.5.14",
        None,
        "A request that is aborted between two chunks of its prompt is released without an insert.",
        "scheduler.py, process_pending_chunked_abort",
        UNIFIED,
    ),
    Row(
        "prompt_boundary",
        "joined",
        "0.5.12",
        "0.5.19",
        "A finished request is inserted once; prompt and output may share a node.",
        "unified_radix_cache.py, cache_finished_req (0.5.19)",
        UNIFIED,
    ),
    Row(
        "prompt_boundary",
        "split",
        "0.5.20",
        "0.5.21",
        "A finished request's prompt is inserted again with priority + 1, so that a node ends "
        "where the prompt ends; it counts no hit.",
        "unified_radix_cache.py, cache_finished_req (0.5.20)",
        UNIFIED,
    ),
    Row(
        "prompt_boundary",
        "split_each_time",
        "0.5.22",
        None,
        "The prompt of a request that gives the tree more than that is inserted again with "
        "priority + 1, so that a node ends where the prompt ends; it counts no hit. Also of one "
        "that goes on, after it was retracted.",
        "unified_radix_cache.py, checkpoint_into_tree",
        UNIFIED,
    ),
    Row(
        "retracted_kv",
        "forgotten",
        "0.5.12",
        "0.5.20",
        "The KV of a request that is retracted goes; a server that only decodes keeps it outside "
        "of the cache.",
        "schedule_batch.py, release_req (0.5.20)",
        UNIFIED,
    ),
    Row(
        "retracted_kv",
        "host_pool",
        "0.5.21",
        None,
        "A server that only decodes can keep the KV of a request that it retracts in the host "
        "pool (--disaggregation-decode-retraction-backup), for which it evicts there as many "
        "tokens as it needs; the request resumes in new slots, all of them its own until the tree "
        "gets them. Only with full attention: not with Mamba, and a sliding window has no host "
        "tier there.",
        "mem_cache/common.py, backup_kv_cache; disaggregation/decode.py, resume_retracted_reqs",
        UNIFIED,
    ),
    Row(
        "waiting_prefixes",
        "left",
        "0.5.12",
        "0.5.21",
        "The prefixes of waiting requests are refreshed by lookups alone.",
        "schedule_policy.py, calc_priority (0.5.21)",
        UNIFIED,
    ),
    Row(
        "waiting_prefixes",
        "touched",
        "0.5.22",
        None,
        "Where requests are served in their order and the policy is lru, the scheduler refreshes, "
        "in every 32nd round, the prefixes of the first 128 that wait.",
        "schedule_policy.py, _touch_waiting_prefixes",
        UNIFIED,
    ),
    Row(
        "lookup_refreshes",
        "path_afterwards",
        "0.5.12",
        None,
        "A lookup gives new times to the path that it found, the root first, when it has ended. "
        "Order only.",
        "unified_cache/unified_tree_core.py, _match_post_processor",
        UNIFIED,
    ),
    Row(
        "hits_under_write_back",
        "none",
        "0.5.12",
        None,
        "Hits are counted only to decide on a backup, so under write_back none are, and the "
        "policies lfu and slru order nodes as lru does. Tolerated: order only.",
        "unified_cache/unified_tree_core.py, _inc_hit_count_and_check",
        UNIFIED,
    ),
    Row(
        "insert_priority_reaches",
        "nothing",
        "0.5.12",
        "0.5.12.post1",
        "Nodes keep no priority; lru, the only policy, needs none.",
        "unified_radix_cache.py, UnifiedTreeNode (0.5.12)",
        UNIFIED,
    ),
    Row(
        "insert_priority_reaches",
        "shared_half",
        "0.5.13",
        None,
        "An insert that ends inside a node raises the priority of the shared half.",
        "unified_cache/unified_tree_core.py, _insert_walk_step",
        UNIFIED,
    ),
    Row(
        "split_refreshes",
        "lower_half",
        "0.5.12",
        None,
        "A split gives the lower half, which nobody asked for, a newer time than the upper half. "
        "Tolerated: order only. The comment beside it says the opposite.",
        "unified_cache/unified_tree_core.py, _split_node",
        UNIFIED,
    ),
    Row(
        "split_creation",
        "now",
        "0.5.12",
        "0.5.12.post1",
        "The upper half of a split node is a new node. Nodes keep no time of creation; their "
        "numbers tell its order. Order only.",
        "unified_radix_cache.py, _split_node (0.5.12)",
        UNIFIED,
    ),
    Row(
        "split_creation",
        "inherited",
        "0.5.13",
        None,
        "Both halves of a split node are as old as the node was. Order only.",
        "unified_cache/unified_tree_core.py, _split_node",
        UNIFIED,
    ),
    Row(
        "split_hits",
        "lower_half",
        "0.5.12",
        "0.5.12.post1",
        "The upper half of a split node begins without hits, and under write_through_selective is"
        " backed up at its second hit from then on. Tolerated: it delays a backup.",
        "unified_radix_cache.py, _split_node (0.5.12)",
        UNIFIED,
    ),
    Row(
        "split_hits",
        "both_halves",
        "0.5.13",
        None,
        "Both halves of a split node have the hits that it had.",
        "unified_cache/unified_tree_core.py, _split_node",
        UNIFIED,
    ),
    Row(
        "split_pins",
        "lower_half",
        "0.5.12",
        "0.5.21",
        "A pin of a host copy stays with the lower half of a split node.",
        "unified_cache/components/full.py, redistribute_on_node_split (0.5.21)",
        UNIFIED,
    ),
    Row(
        "split_pins",
        "both_halves",
        "0.5.22",
        None,
        "A pin of a host copy holds all tokens that the node had when it was pinned, however it "
        "is split.",
        "unified_cache/components/full.py, redistribute_on_node_split",
        UNIFIED,
    ),
    Row(
        "host_pins",
        "none",
        "0.5.12",
        "0.5.12.post1",
        "Nothing pins a host copy; there is no storage tier yet that would need it.",
        "unified_cache_components/full_component.py, acquire_component_lock (0.5.12)",
        UNIFIED,
    ),
    Row(
        "host_pins",
        "counted",
        "0.5.13",
        None,
        "A host copy can be pinned, by several holders at a time.",
        "unified_radix_cache.py, inc_host_lock_ref",
        UNIFIED,
    ),
    Row(
        "host_leaf",
        "no_child",
        "0.5.12",
        None,
        "A host leaf is evicted, backed up, neither locked nor pinned, and has no child at all.",
        "unified_cache/unified_tree_core.py, _is_host_leaf",
        UNIFIED,
    ),
    Row(
        "backup_of_orphan",
        "refused",
        "0.5.12",
        "0.5.12.post1",
        "A node is backed up only when its parent is; otherwise it waits for its next hit.",
        "unified_radix_cache.py, write_backup (0.5.12)",
        UNIFIED,
    ),
    Row(
        "backup_of_orphan",
        "ancestors_first",
        "0.5.13",
        None,
        "The backup of a node brings with it those of its ancestors that are not backed up.",
        "unified_cache/unified_tree_core.py, _build_backup_kv_action",
        UNIFIED,
    ),
    Row(
        "writes_start",
        "one_by_one",
        "0.5.12",
        "0.5.20",
        "A write starts when it is decided, as a transfer of its own.",
        "hybrid_cache_controller.py, write (0.5.20)",
        UNIFIED,
    ),
    Row(
        "writes_start",
        "queued",
        "0.5.21",
        None,
        "A write is queued when it is decided; the end of a batch or the next poll starts all "
        "queued writes as one transfer.",
        "unified_radix_cache.py, flush_pending_backups",
        UNIFIED,
    ),
    Row(
        "write_back_waits",
        "each_leaf",
        "0.5.12",
        None,
        "Under write_back an eviction waits for the copy of each victim before it goes on.",
        "unified_radix_cache.py, _evict_components",
        UNIFIED,
    ),
    Row(
        "host_room_asked",
        "shortfall",
        "0.5.12",
        None,
        "A backup without host room asks for what is missing.",
        "unified_radix_cache.py, _execute_kv_backup",
        UNIFIED,
    ),
    Row(
        "backup_without_room",
        "evicts_anyway",
        "0.5.12",
        None,
        "A backup for which eviction makes too little room on the host is given up when everything "
        "that could go has gone. Tolerated in campaigns; the catalogue has it as a defect.",
        "unified_radix_cache.py, _execute_kv_backup",
        UNIFIED,
    ),
    Row(
        "host_pressure",
        "leaves",
        "0.5.12",
        "0.5.17",
        "Host memory is made free by removing host leaves.",
        "unified_cache/unified_tree_core.py, drive_host_eviction (0.5.17)",
        UNIFIED,
    ),
    Row(
        "host_pressure",
        "duplicates_first",
        "0.5.18",
        None,
        "Under write_back host memory is made free from the copies of nodes that are on the "
        "device too, in the order in which they became such, device leaves last; then by removing "
        "host leaves.",
        "unified_cache/unified_tree_core.py, _reclaim_full_host_duplicates",
        UNIFIED,
    ),
    Row(
        "load_back_evicts",
        "shortfall",
        "0.5.12",
        None,
        "A load back without device room evicts what is missing.",
        "unified_radix_cache.py, _load_back_transfers",
        UNIFIED,
    ),
    Row(
        "load_pins",
        "until_return",
        "0.5.12",
        "0.5.13.post1",
        "The host copies of a load have to stay while it is decided; then only its device lock "
        "keeps it.",
        "unified_radix_cache.py, load_back (0.5.13)",
        UNIFIED,
    ),
    Row(
        "load_pins",
        "anchor_until_ack",
        "0.5.14",
        None,
        "The last node of a load is pinned on the host until the load is acknowledged.",
        "unified_radix_cache.py, load_back",
        UNIFIED,
    ),
    Row(
        "revived_counts",
        "yes",
        "0.5.12",
        None,
        "An insert over an evicted node gives it new device KV and counts a hit.",
        "unified_cache/unified_tree_core.py, _finish_insert_walk_node",
        UNIFIED,
    ),
    Row(
        "insert_answers",
        "matched",
        "0.5.12",
        None,
        "An insert answers how much was in the tree already, on the device or not.",
        "unified_cache/unified_tree_core.py, _insert_commit_step",
        UNIFIED,
    ),
    Row(
        "request_counts",
        "each_insert",
        "0.5.12",
        "0.5.21",
        "Each insert that is not a chunk counts a hit on every node it passes; what came as a "
        "chunk waits for the next. Changed by #39444.",
        "unified_cache/unified_tree_core.py, _inc_hit_count_and_check (0.5.21)",
        UNIFIED,
    ),
    Row(
        "request_counts",
        "each_node_once",
        "0.5.22",
        None,
        "A request counts a hit on each node once, in the insert that reaches it first, chunks "
        "too.",
        "unified_cache/unified_tree_core.py, _finish_insert_walk_node (inserted_len)",
        UNIFIED,
    ),
    Row(
        "unfinished_request",
        "matches_again",
        "0.5.12",
        "0.5.22",
        "A request that goes on after an insert looks its prefix up again, and locks what it "
        "finds.",
        "unified_radix_cache.py, checkpoint_into_tree (0.5.22)",
        UNIFIED,
    ),
    Row(
        "finished_request",
        "leaves",
        "0.5.12",
        "0.5.21",
        "A request that ends leaves the tree as its insert made it.",
        "unified_radix_cache.py, insert_req (0.5.21)",
        UNIFIED,
    ),
    Row(
        "finished_request",
        "matches_again",
        "0.5.22",
        "0.5.22",
        "A request that ends looks its prefix up once more after its insert. Order only.",
        "unified_radix_cache.py, checkpoint_into_tree (0.5.22)",
        UNIFIED,
    ),
    Row(
        "finished_request",
        "leaves",
        "0.5.23",
        None,
        "A request that ends leaves the tree as its insert made it.",
        "unified_radix_cache.py, checkpoint_into_tree",
        UNIFIED,
    ),
    Row(
        "unfinished_request",
        "keeps_node",
        "0.5.23",
        None,
        "A request that goes on after an insert locks the node that the insert ended on.",
        "unified_radix_cache.py, checkpoint_into_tree",
        UNIFIED,
    ),
    Row(
        "window_kept",
        "tokens",
        "0.5.9",
        None,
        "This cache has no component beside full attention.",
        "hiradix_cache.py",
    ),
    Row(
        "window_kept",
        "tokens",
        "0.5.12",
        "0.5.22",
        "A request that goes on keeps the component's KV of a window before the token that it "
        "computes next, or of a page where that is longer, cut at the page above.",
        "mem_cache/common.py, free_swa_out_of_window_slots (0.5.22)",
        UNIFIED,
    ),
    Row(
        "window_kept",
        "whole_pages",
        "0.5.23",
        None,
        "A request that goes on keeps the component's KV of a window in whole pages, so that what "
        "it inserts ends with a whole window wherever its page ends.",
        "mem_cache/common.py, free_swa_out_of_window_slots",
        UNIFIED,
    ),
    Row(
        "component_backup",
        "write_through",
        "0.5.9",
        None,
        "This cache has no component beside full attention.",
        "hiradix_cache.py",
    ),
    Row(
        "component_backup",
        "with_ancestors",
        "0.5.12",
        "0.5.21",
        "What an insert brings of a component to a node that is backed up is written at once, "
        "under write_back too, and before it the ancestors that have no copy; an eviction that "
        "comes short waits for them.",
        "unified_cache/unified_tree_core.py, _insert_tail_step (0.5.21)",
        UNIFIED,
    ),
    Row(
        "component_backup",
        "always",
        "0.5.22",
        "0.5.22",
        "What an insert brings of a component to a node that is backed up is written at once, a "
        "window under write_back too; an eviction that comes short waits for it.",
        "unified_cache/unified_tree_core.py, _should_backup_after_insert (0.5.22)",
        UNIFIED,
    ),
    Row(
        "component_backup",
        "write_through",
        "0.5.23",
        None,
        "What an insert brings of a component to a node that is backed up is written at once, but "
        "for write_back.",
        "unified_cache/unified_tree_core.py, _should_backup_after_insert",
        UNIFIED,
    ),
    Row(
        "own_check",
        "right",
        "0.5.9",
        None,
        "The cache has no check of its own invariants, or one that is right.",
        "hiradix_cache.py",
    ),
    Row(
        "own_check",
        "wants_parents",
        "0.5.12",
        "0.5.12.post1",
        "The cache's own check wants the parent of a backed-up node to be backed up, under "
        "write_back too, which writes back leaf by leaf. Tolerated: a false alarm, out with "
        "#24585.",
        "unified_radix_cache.py, sanity_check (0.5.12)",
        UNIFIED,
    ),
    Row(
        "own_check",
        "right",
        "0.5.13",
        "0.5.17",
        "The cache has no check of its own invariants, or one that is right.",
        "unified_radix_cache.py, sanity_check",
        UNIFIED,
    ),
    Row(
        "own_check",
        "misses_loads",
        "0.5.18",
        None,
        "The cache's own check says of a node that is on both tiers while a load is under way that "
        "it is missing among the duplicates. Tolerated: a false alarm, which ends with the load.",
        "unified_cache/unified_tree_core.py, sanity_check",
        UNIFIED,
    ),
)


@attrs.define(frozen=True, slots=True)
class Dialect:
    """The rows that hold for one cache of one release, as attributes."""

    release: str
    cache: str
    victim_without_host_room: str
    scheduler_evicts: str
    abort_in_prefill: str
    prompt_boundary: str
    retracted_kv: str
    waiting_prefixes: str
    lookup_refreshes: str
    hits_under_write_back: str
    insert_priority_reaches: str
    split_refreshes: str
    split_creation: str
    split_hits: str
    split_pins: str
    host_pins: str
    host_leaf: str
    backup_of_orphan: str
    writes_start: str
    write_back_waits: str
    host_room_asked: str
    backup_without_room: str
    host_pressure: str
    load_back_evicts: str
    load_pins: str
    revived_counts: str
    insert_answers: str
    request_counts: str
    unfinished_request: str
    finished_request: str
    window_kept: str
    component_backup: str
    own_check: str

    @classmethod
    @functools.cache
    def of(cls, release: str, cache: str = HIRADIX) -> Dialect:
        """Raises ValueError for a release that no row covers."""
        values = {row.name: row.value for row in ROWS if row.holds_for(release, cache)}
        named = ("release", "cache")
        missing = [f.name for f in attrs.fields(cls) if f.name not in (*named, *values)]
        if missing:
            first = min((row.first for row in ROWS if row.cache == cache), key=release_key)
            raise ValueError(
                f"no dialect for release {release}: the table has no {', '.join(missing)}; "
                f"{CACHES[cache]} is known from {first} on"
            )
        return cls(release=release, cache=cache, **values)
