"""Edits that look like bugs and change nothing that can be seen from here, each with the reason.

They keep the bank honest: one that is found after all was no equivalent, or the reason has gone.
"""

from __future__ import annotations

import attrs

from tests.planted.bug import BACK, CACHE, THROUGH, Edit, Planted


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
        Planted(
            "split_forgets_the_pending_write",
            THROUGH,
            (),
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
        ),
        "It decides only what is published as an event and what goes to storage (#16946, #27072): "
        "a law needs one of these.",
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
