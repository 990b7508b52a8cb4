"""Edits that look like bugs and change nothing that can be seen from here, each with the reason.

They keep the bank honest: one that is found after all was no equivalent, or the reason has gone.
"""

from __future__ import annotations

import attrs

from tests.planted.bug import BACK, CACHE, Edit, Planted
from tests.planted.unified import CORE, planted


@attrs.frozen
class Equivalent:
    bug: Planted
    reason: str


EQUIVALENT = (
    Equivalent(
        Planted(
            "host_leaf_asks_whether_a_child_is_evicted_in_0.5.18",
            BACK,
            (),
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
        ),
        "Up to 0.5.14 eviction demotes a parent while its child, still to be written back, has its "
        "value. From 0.5.15 the child is detached first, so that below an evicted node every child "
        "is evicted and backed up whenever the question is asked.",
    ),
    Equivalent(
        planted(
            "host_leaf_asks_whether_a_child_is_evicted_in_0.5.23",
            BACK,
            (),
            CORE,
            """
@@ _is_host_leaf
-        if len(node.children) > 0:
+        if any(child.evicted for child in node.children.values()):
""",
        ),
        "Below an evicted node every child is evicted, so that to have one that is evicted and to "
        "have one at all are the same; so is to have one that is backed up.",
    ),
    Equivalent(
        planted(
            "load_back_forgets_the_leaf_sets",
            BACK,
            (),
            CORE,
            """
@@ commit_load_back
-        self._update_evictable_leaf_sets(node)
         return cache_actions
""",
        ),
        "The locks that are taken and given up around a load refresh the same sets.",
    ),
    Equivalent(
        Planted(
            "split_and_load_back_keep_views",
            BACK,
            (),
            (
                Edit(
                    CACHE,
                    """
@@ _split_node
-            new_node.value = child.value[:split_len].clone()
-            child.value = child.value[split_len:].clone()
+            new_node.value = child.value[:split_len]
+            child.value = child.value[split_len:]
""",
                ),
                Edit(
                    CACHE,
                    """
@@ load_back
-            node.value = device_indices[offset : offset + len(node.host_value)].clone()
+            node.value = device_indices[offset : offset + len(node.host_value)]
""",
                ),
            ),
        ),
        "No tensor of slots is ever written in place, so a view holds memory and nothing else; a "
        "view of a request's row, which is, is in memory.py.",
    ),
)
