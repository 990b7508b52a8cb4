"""Planted bugs in the states that a tree keeps beside full KV (Mamba of UnifiedRadixCache)."""

from __future__ import annotations

from hicache_model.operations import (
    BeginRequest,
    EvictDevice,
    EvictHost,
    Insert,
    LoadBack,
    Lock,
    Match,
    Operation,
    Unlock,
)
from hicache_verify.campaigns.cells import Cell
from tests.planted import window
from tests.planted.bug import Planted, Witness

MAMBA = "sglang.srt.mem_cache.unified_cache.components.mamba"

BACK = Cell("write_back", 1, "lru", "mamba")
SIZES = {"component": "mamba"}


def planted(name: str, law: str, trace: tuple[Operation, ...], diff: str, *also: str) -> Planted:
    """As in window.py, in the component's own module and with its own pools."""
    witness = Witness(law, trace, SIZES)
    return window.planted(name, law, witness, MAMBA, diff, *also, cell=BACK)


TOMBSTONE = EvictDevice(1, "mamba")

STATES = (
    planted(
        "request_begins_without_a_copy_of_the_state_it_found",
        "component-bytes",
        (Insert((1,)), BeginRequest(0, (1, 2), 2)),
        """
@@ finalize_match_result_in_cache
-        req.kv.mamba_cow_src_index = src_index
         req.kv.mamba_needs_clear = False
         return result
""",
    ),
    planted(
        "split_hands_the_state_to_the_upper_half",
        "component-slots",
        (Insert((1, 2)), Insert((1, 3))),
        """
@@ redistribute_on_node_split
-        new_parent.component_data[ct].value = None
+        new_parent.component_data[ct].value = child.component_data[ct].value
""",
        "component-lru",
        "component-sizes",
        "component-bytes",
    ),
    planted(
        "lookup_goes_on_where_there_is_no_state",
        "longest-prefix",
        (Insert((1, 2)), Insert((1, 3)), Match((1,))),
        """
@@ create_match_validator
-            return lambda node: node.component_data[ct].value is not None
+            return lambda node: True
""",
        "answer",
    ),
    planted(
        "second_state_of_a_node_is_not_refused",
        "component-slots",
        (Insert((1,)), Insert((1,))),
        """
@@ commit_insert_component_data
-        result.mamba_exist = True
+        result.mamba_exist = False
""",
    ),
    planted(
        "newest_state_is_evicted_first",
        "component-order",
        (Insert((1,)), Insert((2,)), TOMBSTONE),
        """
@@ _evict_device_start
             self._evict_device_cursor = self.tree_core.lru_lists[
                 self.component_type
-            ].get_lru_no_lock()
+            ].head.lru_next[self.component_type]
""",
        "transition",
        "component-progress",
        "component-sizes",
        "progress",
        "component-locked-stays",
    ),
    planted(
        "unlock_of_a_state_forgets_to_count_it_as_evictable",
        "component-sizes",
        (Insert((1,)), Lock((1,)), Unlock((1,))),
        """
@@ release_component_lock
             vlen = self.reclaimable_value_len(node)
-            self.tree_core.component_evictable_size_[ct] += vlen
             self.tree_core.component_protected_size_[ct] -= vlen
""",
    ),
    planted(
        "host_eviction_keeps_the_slot_of_a_state",
        "component-slots",
        (Insert((1,)), EvictDevice(1), EvictHost(1, "mamba")),
        """
@@ free_host_values
-            self.cache.host_pool_group.free(host_value, pool=PoolName.MAMBA)
+            pass
""",
    ),
    planted(
        "loaded_state_is_that_of_another_slot",
        "component-pinned-until-ack",
        (Insert((1,)), Insert((2,)), EvictDevice(2), LoadBack((2,))),
        """
@@ build_hicache_transfers
                 transfers.append(
                     PoolTransfer(
                         name=PoolName.MAMBA,
-                        host_indices=cd.host_value,
+                        host_indices=1 - cd.host_value,
                         nodes_to_load=[node.id],
""",
        "component-bytes",
    ),
)
