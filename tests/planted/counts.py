"""Planted bugs in sizes, locks and pins."""

from __future__ import annotations

from hicache_model.operations import (
    CompleteLoads,
    EvictDevice,
    EvictHost,
    Insert,
    LoadBack,
    LockHost,
    StartLoads,
)
from tests.planted.bug import BACK, CACHE, CONTROLLER, RADIX, THROUGH, Edit, Planted, Witness

COUNTS = (
    Planted(
        "revived_node_is_not_counted",
        BACK,
        ("sizes",),
        (
            Edit(
                CACHE,
                """
@@ insert
-                    self.evictable_size_ += len(node.value)
""",
            ),
        ),
        Witness("sizes", (Insert((1,)), EvictDevice(1), Insert((1,)))),
    ),
    Planted(
        "loaded_tokens_are_not_counted",
        BACK,
        ("sizes",),
        (
            Edit(
                CACHE,
                """
@@ load_back
-        self.evictable_size_ += len(device_indices)
""",
            ),
        ),
    ),
    Planted(
        "split_forgets_the_lock",
        BACK,
        ("sizes",),
        (
            Edit(
                CACHE,
                """
@@ _split_node
-        new_node.lock_ref = child.lock_ref
""",
            ),
        ),
    ),
    Planted(
        "split_copies_the_pin",
        BACK,
        ("lock-balance",),
        (
            Edit(
                CACHE,
                """
@@ _split_node
         new_node.hit_count = child.hit_count
+        new_node.host_ref_counter = child.host_ref_counter
""",
            ),
        ),
    ),
    Planted(
        "load_never_unlocks",
        BACK,
        ("lock-balance",),
        (
            Edit(
                CACHE,
                """
@@ loading_check
-                self.dec_lock_ref(end_node)
""",
            ),
        ),
        Witness(
            "lock-balance",
            (Insert((1,)), EvictDevice(1), LoadBack((1,)), StartLoads(), CompleteLoads(1)),
        ),
    ),
    Planted(
        "loads_that_start_together_unlock_only_the_first",
        BACK,
        ("lock-balance", "pinned-until-ack"),
        (
            Edit(
                CONTROLLER,
                """
@@ merge_ops
-            node_ids.extend(op.node_ids)
+            node_ids = node_ids or op.node_ids
""",
            ),
        ),
    ),
    Planted(
        "load_does_not_lock",
        BACK,
        ("lock-balance", "host-leaves"),
        (
            Edit(
                CACHE,
                """
@@ load_back
-        self.inc_lock_ref(last_hit_node)
+        self._update_leaf_status(last_hit_node)
""",
            ),
        ),
    ),
    Planted(
        "write_never_unlocks",
        THROUGH,
        ("lock-balance",),
        (
            Edit(
                CACHE,
                """
@@ _finish_write_through_ack
-        if release_lock:
+        if False:
""",
            ),
        ),
    ),
    Planted(
        "load_refused_by_threshold_or_quota_keeps_its_lock",
        BACK,
        ("lock-balance",),
        (
            Edit(
                CACHE,
                """
@@ load_back
             # skip loading back if the total size is too small or exceeding the memory quota
-            self.dec_lock_ref(ancester_node)
""",
            ),
        ),
    ),
    Planted(
        "load_refused_for_lack_of_memory_keeps_its_pins",
        BACK,
        ("lock-balance",),
        (
            Edit(
                CACHE,
                """
@@ load_back
-            for n in nodes_to_load:
-                n.release_host()
""",
            ),
        ),
    ),
    Planted(
        "unfinished_request_does_not_lock_its_new_end",
        BACK,
        ("lock-balance", "sizes"),
        (
            Edit(
                RADIX,
                """
@@ cache_unfinished_req
-        self.inc_lock_ref(new_last_node)
""",
            ),
        ),
    ),
    Planted(
        "finished_request_keeps_its_lock",
        BACK,
        ("lock-balance",),
        (
            Edit(
                RADIX,
                """
@@ cache_finished_req
-            self.dec_lock_ref(req.last_node)
+            pass
""",
            ),
        ),
    ),
    Planted(
        "eviction_takes_a_locked_parent",
        BACK,
        ("sizes", "locked-stays", "pinned-until-ack"),
        (
            Edit(
                CACHE,
                """
@@ _evict_write_back
             _, x = heapq.heappop(heap)
-            if x.lock_ref > 0:
-                continue
             if x.backuped:
                 num_evicted += self._evict_backuped(x)
             elif self.write_backup(x, write_back=True) > 0:
""",
            ),
        ),
    ),
    Planted(
        "host_eviction_takes_a_pinned_copy",
        BACK,
        ("locked-stays", "transition"),
        (
            Edit(
                CACHE,
                """
@@ evict_host
-            if x.host_ref_counter > 0:
-                continue
""",
            ),
        ),
        Witness("locked-stays", (Insert((1,)), EvictDevice(1), LockHost((1,)), EvictHost(1))),
    ),
)
