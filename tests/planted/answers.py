"""Planted bugs in what operations answer, in eviction order, and in what a split keeps."""

from __future__ import annotations

from hicache_model.operations import EvictDevice, Insert, LoadBack, Match
from hicache_verify.campaigns.cells import Cell
from tests.planted.bug import (
    BACK,
    CACHE,
    POLICY,
    RADIX,
    SELECTIVE,
    THROUGH,
    Edit,
    Planted,
    Witness,
)

ANSWERS = (
    # -- lookup
    Planted(
        "lookup_falls_back_to_the_default_namespace",
        BACK,
        ("namespace-isolation", "answer", "lock-balance", "sizes", "no-crash"),
        (
            Edit(
                CACHE,
                """
@@ match_prefix
         value, last_node = self._match_prefix_helper(self.root_node, key)
+        if not value:
+            key = RadixKey(key.token_ids)
+            value, last_node = self._match_prefix_helper(self.root_node, key)
""",
            ),
        ),
        Witness("namespace-isolation", (Insert((1,)), Match((1,), "a"))),
    ),
    Planted(
        "child_key_ignores_the_namespace",
        BACK,
        ("no-crash",),
        (
            Edit(
                RADIX,
                """
@@ child_key
-        return plain if self.extra_key is None else (self.extra_key, plain)
+        return plain
""",
            ),
        ),
    ),
    Planted(
        "lookup_answers_the_nodes_backwards",
        BACK,
        ("longest-prefix", "single-owner", "bytes"),
        (
            Edit(
                CACHE,
                """
@@ match_prefix
-            value = torch.cat(value)
+            value = torch.cat(value[::-1])
""",
            ),
        ),
        Witness("longest-prefix", (Insert((1,)), Insert((1, 1)), Match((1, 1)))),
    ),
    Planted(
        "lookup_answers_the_other_half_too",
        BACK,
        ("longest-prefix", "answer", "no-crash", "single-owner", "read-after-load"),
        (
            Edit(
                CACHE,
                """
@@ _match_prefix_helper
                 if not new_node.evicted:
                     value.append(new_node.value)
+                    value.append(child.value)
""",
            ),
        ),
    ),
    Planted(
        "lookup_does_not_refresh_the_time",
        BACK,
        ("policy-order",),
        (
            Edit(
                CACHE,
                """
@@ _match_prefix_helper
-            child.last_access_time = time.monotonic()
""",
            ),
        ),
    ),
    # -- load back
    Planted(
        "load_back_answers_nothing_though_it_loads",
        BACK,
        ("failed-step-changes-nothing", "answer"),
        (
            Edit(
                CACHE,
                """
@@ init_load_back
-            if loading_values is not None:
+            if loading_values is not None and len(loading_values) != 2:
""",
            ),
        ),
        Witness(
            "failed-step-changes-nothing",
            (Insert((1, 1)), EvictDevice(2), LoadBack((1, 1))),
        ),
    ),
    Planted(
        "load_back_ignores_its_quota",
        BACK,
        ("within-quota", "answer"),
        (
            Edit(
                CACHE,
                """
@@ load_back
-            len(host_indices) > mem_quota + delta if mem_quota is not None else False
+            False
""",
            ),
        ),
        Witness(
            "within-quota",
            (Insert((1, 1)), EvictDevice(2), LoadBack((1, 1), quota=1)),
        ),
    ),
    Planted(
        "load_back_counts_its_quota_from_before_its_lock",
        BACK,
        ("within-quota", "answer"),
        (
            Edit(
                CACHE,
                """
@@ load_back
-        delta = result.delta
+        delta = 0
""",
            ),
        ),
    ),
    Planted(
        "load_back_needs_one_token_more",
        BACK,
        ("answer",),
        (
            Edit(
                CACHE,
                """
@@ load_back
-        if len(host_indices) < self.load_back_threshold or (
+        if len(host_indices) <= self.load_back_threshold or (
""",
            ),
        ),
    ),
    # -- eviction
    Planted(
        "eviction_reports_nothing",
        BACK,
        ("progress",),
        (
            Edit(
                CACHE,
                """
@@ evict
-        return EvictResult(num_tokens_evicted=num_evicted)
+        return EvictResult(num_tokens_evicted=0)
""",
            ),
        ),
        Witness("progress", (Insert((1,)), EvictDevice(1))),
    ),
    Planted(
        "eviction_stops_at_the_first_leaves",
        BACK,
        ("progress", "transition"),
        (
            Edit(
                CACHE,
                """
@@ _promote_parent
-            heapq.heappush(heap, (self.eviction_strategy.get_priority(p), p))
+            pass
""",
            ),
        ),
    ),
    Planted(
        "eviction_takes_one_node_too_many",
        THROUGH,
        ("answer", "transition"),
        (
            Edit(
                CACHE,
                """
@@ _evict_write_through
-        while num_evicted < num_tokens and heap:
+        while num_evicted <= num_tokens and heap:
             _, x = heapq.heappop(heap)
             if x.lock_ref > 0:
                 continue
             if x.backuped:
                 num_evicted += self._evict_backuped(x)
             else:
                 num_evicted += self._evict_regular(x)
""",
            ),
        ),
    ),
    # SGLang #4987. No law judges how much host eviction frees; the model does.
    Planted(
        "host_eviction_never_counts",
        BACK,
        ("transition",),
        (
            Edit(
                CACHE,
                """
@@ evict_host
-            num_evicted += self.cache_controller.evict_host(x.host_value)
+            self.cache_controller.evict_host(x.host_value)
""",
            ),
        ),
    ),
    Planted(
        "host_eviction_stops_at_the_first_leaves",
        BACK,
        ("transition", "answer"),
        (
            Edit(
                CACHE,
                """
@@ evict_host
-            if len(x.parent.children) == 0 and x.parent.evicted:
+            if False:
""",
            ),
        ),
    ),
    Planted(
        "backup_makes_room_for_one_token",
        BACK,
        ("transition", "answer"),
        (
            Edit(
                CACHE,
                """
@@ write_backup
-            self.evict_host(len(node.value))
+            self.evict_host(1)
""",
            ),
        ),
    ),
    # -- eviction order
    Planted(
        "mru_for_lru",
        THROUGH,
        ("policy-order", "transition", "answer"),
        (
            Edit(
                POLICY,
                """
@@ LRUStrategy
 class LRUStrategy(EvictionStrategy):
     def get_priority(self, node: TreeNode) -> float:
-        return node.last_access_time
+        return -node.last_access_time
""",
            ),
        ),
        Witness(
            "policy-order",
            (Insert((1,), chunked=True), Insert((2,), chunked=True), EvictDevice(1)),
        ),
    ),
    Planted(
        "mru_for_lru_where_the_victim_is_written_back",
        BACK,
        ("policy-order", "transition", "answer"),
        (
            Edit(
                POLICY,
                """
@@ LRUStrategy
 class LRUStrategy(EvictionStrategy):
     def get_priority(self, node: TreeNode) -> float:
-        return node.last_access_time
+        return -node.last_access_time
""",
            ),
        ),
    ),
    Planted(
        "lfu_looks_at_the_time_first",
        Cell("write_through", 1, "lfu"),
        ("policy-order", "transition", "answer"),
        (
            Edit(
                POLICY,
                """
@@ LFUStrategy
-        return (node.hit_count, node.last_access_time)
+        return (node.last_access_time, node.hit_count)
""",
            ),
        ),
    ),
    Planted(
        "highest_priority_goes_first",
        Cell("write_back", 1, "priority"),
        ("policy-order", "transition", "answer"),
        (
            Edit(
                POLICY,
                """
@@ PriorityStrategy
-        return (node.priority, node.last_access_time)
+        return (-node.priority, node.last_access_time)
""",
            ),
        ),
    ),
    Planted(
        "finished_request_loses_its_priority",
        Cell("write_back", 1, "priority"),
        ("policy-order", "transition", "answer"),
        (
            Edit(
                RADIX,
                """
@@ cache_finished_req
-            priority = getattr(req, "priority", 0) or 0
+            priority = 0
""",
            ),
        ),
    ),
    Planted(
        "insert_does_not_refresh_the_time",
        BACK,
        ("policy-order",),
        (
            Edit(
                CACHE,
                """
@@ insert
-            node.last_access_time = time.monotonic()
             node.priority = max(node.priority, priority)
""",
            ),
        ),
    ),
    # -- hits and thresholds
    Planted(
        "chunks_count_as_hits",
        SELECTIVE,
        ("policy-order", "transition"),
        (
            Edit(
                CACHE,
                """
@@ _inc_hit_count
-        if self.cache_controller.write_policy == "write_back" or chunked:
+        if self.cache_controller.write_policy == "write_back":
""",
            ),
        ),
    ),
    Planted(
        "write_through_one_hit_late",
        THROUGH,
        ("promised-backup", "transition"),
        (
            Edit(
                CACHE,
                """
@@ _inc_hit_count
-            if node.hit_count >= self.write_through_threshold:
+            if node.hit_count > self.write_through_threshold:
""",
            ),
        ),
        Witness("promised-backup", (Insert((1,)),)),
    ),
    # -- what a split keeps
    Planted(
        "split_drops_the_priority",
        BACK,
        ("split-neutral",),
        (
            Edit(
                CACHE,
                """
@@ _split_node
-        new_node = TreeNode(priority=child.priority)
+        new_node = TreeNode()
""",
            ),
        ),
        Witness("split-neutral", (Insert((1, 1), priority=1), Match((1,)))),
    ),
    Planted(
        "split_forgets_the_pending_write",
        THROUGH,
        ("split-neutral",),
        (
            Edit(
                CACHE,
                """
@@ _split_node
-            self._replace_pending_write_through_node(child, [new_node, child])
+            pass
""",
            ),
        ),
        Witness("split-neutral", (Insert((1, 1)), Match((1,)))),
    ),
    Planted(
        "split_drops_the_hit_count",
        SELECTIVE,
        ("split-neutral", "transition", "policy-order"),
        (
            Edit(
                CACHE,
                """
@@ _split_node
-        new_node.hit_count = child.hit_count
""",
            ),
        ),
        Witness("split-neutral", (Insert((1, 1)), Match((1,)))),
    ),
    Planted(
        "split_keeps_the_time_of_creation",
        Cell("write_back", 1, "fifo"),
        ("policy-order", "transition", "answer"),
        (
            Edit(
                CACHE,
                """
@@ _split_node
         new_node.hit_count = child.hit_count
+        new_node.creation_time = child.creation_time
""",
            ),
        ),
    ),
)
