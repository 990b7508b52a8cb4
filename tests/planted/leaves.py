"""Planted bugs in the upkeep of the two leaf sets."""

from __future__ import annotations

from hicache_model.operations import EvictDevice, EvictHost, Insert
from tests.planted.bug import BACK, CACHE, RADIX, THROUGH, Edit, Planted, Witness

LEAVES = (
    # The literal mistake of #19212. From 0.5.15 on it changes nothing: see equivalent.py.
    Planted(
        "host_leaf_asks_whether_a_child_is_evicted",
        BACK,
        ("host-leaves",),
        (
            Edit(
                CACHE,
                """
@@ _update_host_leaf_status
-            if child.backuped:
+            if child.evicted:
""",
            ),
        ),
        Witness(
            "host-leaves",
            (Insert((1,)), EvictDevice(1), Insert((1, 2)), EvictDevice(2)),
        ),
        release="0.5.14",
    ),
    Planted(
        "host_leaf_asks_whether_a_child_has_children",
        BACK,
        ("host-leaves",),
        (
            Edit(
                CACHE,
                """
@@ _update_host_leaf_status
-            if child.backuped:
+            if child.children:
""",
            ),
        ),
    ),
    Planted(
        "node_on_the_device_is_a_host_leaf",
        BACK,
        ("host-leaves",),
        (
            Edit(
                CACHE,
                """
@@ _update_host_leaf_status
-        if not node.evicted or node.lock_ref > 0:
+        if node.lock_ref > 0:
""",
            ),
        ),
    ),
    Planted(
        "demoted_node_does_not_become_a_host_leaf",
        BACK,
        ("host-leaves",),
        (
            Edit(
                CACHE,
                """
@@ _detach_backuped
-        self._update_host_leaf_status(node)
""",
            ),
        ),
    ),
    Planted(
        "evict_host_does_not_refresh_the_parent",
        BACK,
        ("host-leaves",),
        (
            Edit(
                CACHE,
                """
@@ evict_host
-            self._update_host_leaf_status(x.parent)
""",
            ),
        ),
        Witness(
            "host-leaves",
            (Insert((1,)), Insert((1, 1)), EvictDevice(2), EvictHost(1)),
        ),
    ),
    Planted(
        "revived_node_stays_a_host_leaf",
        BACK,
        ("host-leaves",),
        (
            Edit(
                CACHE,
                """
@@ insert
-                    self._update_host_leaf_status(node)
""",
            ),
        ),
    ),
    Planted(
        "locking_does_not_refresh_the_host_leaves",
        BACK,
        ("host-leaves",),
        (
            Edit(
                CACHE,
                """
@@ inc_lock_ref
             node.lock_ref += 1
             self._update_leaf_status(node)
-            self._update_host_leaf_status(node)
""",
            ),
        ),
    ),
    Planted(
        "insert_does_not_refresh_the_parent",
        BACK,
        ("device-leaves",),
        (
            Edit(
                CACHE,
                """
@@ insert
             self.evictable_size_ += len(value)
-            self._update_leaf_status(node)
""",
            ),
        ),
        Witness("device-leaves", (Insert((1,)), Insert((1, 1)))),
    ),
    Planted(
        "demotion_does_not_refresh_the_parent",
        BACK,
        ("device-leaves",),
        (
            Edit(
                CACHE,
                """
@@ _detach_backuped
         # update leaf status for the parent because the node is evicted
-        self._update_leaf_status(node.parent)
""",
            ),
        ),
    ),
    Planted(
        "deleted_leaf_does_not_refresh_the_parent",
        THROUGH,
        ("device-leaves",),
        (
            Edit(
                RADIX,
                """
@@ _delete_leaf
-        self._update_leaf_status(node.parent)
""",
            ),
        ),
    ),
    Planted(
        "unlocking_does_not_refresh_the_device_leaves",
        BACK,
        ("device-leaves",),
        (
            Edit(
                CACHE,
                """
@@ dec_lock_ref
             node.lock_ref -= 1
-            self._update_leaf_status(node)
""",
            ),
        ),
    ),
    Planted(
        "locked_node_is_a_device_leaf",
        BACK,
        ("device-leaves", "no-orphan"),
        (
            Edit(
                RADIX,
                """
@@ _update_leaf_status
-        if node.evicted or node.lock_ref > 0:
+        if node.evicted:
""",
            ),
        ),
    ),
    Planted(
        "node_evicted_from_the_host_stays_in_the_set",
        BACK,
        ("no-orphan",),
        (
            Edit(
                CACHE,
                """
@@ evict_host
-            if x in self.evictable_host_leaves:
-                self.evictable_host_leaves.remove(x)
""",
            ),
        ),
        Witness("no-orphan", (Insert((1,)), EvictDevice(1), EvictHost(1))),
    ),
)
