"""Planted bugs in what lies in which tier, in transfers, and in the bytes that they move."""

from __future__ import annotations

from hicache_model.operations import (
    EvictDevice,
    EvictHost,
    Insert,
    LoadBack,
    Match,
)
from tests.planted.bug import BACK, CACHE, CONTROLLER, THROUGH, Edit, Planted, Witness

TIERS = (
    Planted(
        "child_is_backed_up_before_its_parent",
        THROUGH,
        ("backup-prefix-closed",),
        (
            Edit(
                CACHE,
                """
@@ write_backup
-            node.parent != self.root_node and not node.parent.backuped
+            False
""",
            ),
        ),
        Witness(
            "backup-prefix-closed",
            (Insert((1, 2)), Insert((1, 2, 2))),
            {"device_slots": 5, "host_slots": 1},
        ),
    ),
    Planted(
        "parent_is_evicted_before_its_children",
        BACK,
        ("device-prefix-closed", "transition"),
        (
            Edit(
                CACHE,
                """
@@ _promote_parent
-        if p is not self.root_node and all(c.evicted for c in p.children.values()):
+        if p is not self.root_node and not p.evicted:
""",
            ),
            Edit(
                CACHE,
                """
@@ _evict_write_back
-            if x.lock_ref > 0:
+            if x.lock_ref > 0 or x.evicted:
                 continue
             if x.backuped:
                 num_evicted += self._evict_backuped(x)
             elif self.write_backup(x, write_back=True) > 0:
""",
            ),
        ),
        Witness(
            "device-prefix-closed",
            (Insert((1, 2)), Insert((1, 1)), EvictDevice(2)),
        ),
    ),
    Planted(
        "load_back_does_not_pin_what_it_loads",
        BACK,
        ("pinned-until-ack", "no-orphan", "bytes", "no-crash"),
        (
            Edit(
                CACHE,
                """
@@ load_back
-        for n in nodes_to_load:
-            n.protect_host()
""",
            ),
            Edit(
                CACHE,
                """
@@ load_back
-            for n in nodes_to_load:
-                n.release_host()
""",
            ),
            Edit(
                CACHE,
                """
@@ load_back
-        for n in nodes_to_load:
-            n.release_host()
         self.ongoing_load_back[last_hit_node.id] = last_hit_node
""",
            ),
        ),
        Witness(
            "pinned-until-ack",
            (Insert((1,)), EvictDevice(1), Insert((2, 2, 2)), LoadBack((1,))),
            {"device_slots": 3, "host_slots": 1},
        ),
    ),
    Planted(
        "load_back_gives_the_host_copy_away",
        BACK,
        ("pinned-until-ack",),
        (
            Edit(
                CACHE,
                """
@@ load_back
             offset += len(node.host_value)
+            self.cache_controller.evict_host(node.host_value)
+            node.host_value = None
""",
            ),
        ),
    ),
    Planted(
        "load_back_leaves_its_ancestors_unlocked",
        BACK,
        ("sizes", "device-prefix-closed", "no-crash", "transition", "answer", "within-quota"),
        (
            Edit(
                CACHE,
                """
@@ load_back
-        result = self.inc_lock_ref(ancester_node)
-        delta = result.delta
+        delta = 0
""",
            ),
            Edit(
                CACHE,
                """
@@ load_back
             # skip loading back if the total size is too small or exceeding the memory quota
-            self.dec_lock_ref(ancester_node)
""",
            ),
            Edit(
                CACHE,
                """
@@ load_back
-        self.dec_lock_ref(ancester_node)
         if device_indices is None:
             # no sufficient GPU memory to load back KV caches
""",
            ),
        ),
    ),
    Planted(
        "eviction_does_not_wait_for_its_writes",
        BACK,
        ("pinned-until-ack", "lock-balance"),
        (
            Edit(
                CACHE,
                """
@@ flush_staged
-            self.writing_check(write_back=True)
""",
            ),
        ),
    ),
    # What it writes back is lost again in the same step; no law sees that, only the model does.
    Planted(
        "eviction_does_not_pin_what_it_writes_back",
        BACK,
        ("transition", "answer"),
        (
            Edit(
                CACHE,
                """
@@ _evict_write_back
-                x.protect_host()
""",
            ),
            Edit(
                CACHE,
                """
@@ flush_staged
-                node.release_host()
""",
            ),
        ),
    ),
    Planted(
        "acknowledged_before_the_copy_ends",
        THROUGH,
        ("bytes", "lock-balance", "transition", "device-leaves"),
        (
            Edit(
                CACHE,
                """
@@ _count_ready_acks
-            if not ack.finish_event.query():
-                break
""",
            ),
            Edit(
                CACHE,
                """
@@ writing_check
             ack = self.cache_controller.ack_write_queue.pop(0)
-            ack.finish_event.synchronize()
""",
            ),
            Edit(
                CACHE,
                """
@@ loading_check
             ack = self.cache_controller.ack_load_queue.pop(0)
-            ack.finish_event.synchronize()
""",
            ),
        ),
    ),
    Planted(
        "latest_write_is_acknowledged_first",
        THROUGH,
        ("transition", "device-leaves", "lock-balance"),
        (
            Edit(
                CACHE,
                """
@@ writing_check
-            ack = self.cache_controller.ack_write_queue.pop(0)
+            ack = self.cache_controller.ack_write_queue.pop()
""",
            ),
        ),
    ),
    Planted(
        "copy_forgets_that_it_sorted",
        BACK,
        ("bytes",),
        (
            Edit(
                CONTROLLER,
                """
@@ move_indices
-                return host_indices, device_indices.index_select(0, idx)
+                return host_indices, device_indices
""",
            ),
        ),
        Witness(
            "bytes",
            (
                Insert((1,)),
                Insert((2, 2)),
                EvictDevice(3),
                Match((1,)),
                EvictHost(2),
                EvictHost(1),
                Insert((3, 3, 3)),
                EvictDevice(3),
            ),
            {"device_slots": 3, "host_slots": 3},
        ),
    ),
    Planted(
        "split_swaps_the_halves_slots",
        BACK,
        ("bytes", "lengths-agree", "split-neutral"),
        (
            Edit(
                CACHE,
                """
@@ _split_node
-            new_node.value = child.value[:split_len].clone()
-            child.value = child.value[split_len:].clone()
+            new_node.value = child.value[-split_len:].clone()
+            child.value = child.value[:-split_len].clone()
""",
            ),
        ),
        Witness("split-neutral", (Insert((1, 2)), Match((1,)))),
    ),
    Planted(
        "revived_half_takes_the_last_slots",
        BACK,
        ("bytes", "single-owner"),
        (
            Edit(
                CACHE,
                """
@@ insert
-                    new_node.value = value[:prefix_len].clone()
+                    new_node.value = value[-prefix_len:].clone()
""",
            ),
        ),
    ),
)
