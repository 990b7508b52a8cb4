"""Planted bugs in what a sliding window keeps beside full attention (SWA of UnifiedRadixCache)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hicache_model.operations import (
    BeginRequest,
    EvictDevice,
    Insert,
    LoadBack,
    Lock,
    Reset,
    Unlock,
)
from hicache_verify.campaigns.cells import Cell
from tests.planted.bug import Edit, Planted, Witness

SWA = "sglang.srt.mem_cache.unified_cache.components.swa"
CORE = "sglang.srt.mem_cache.unified_cache.unified_tree_core"
DEVICE_POOL = "sglang.srt.mem_cache.swa_memory_pool"
ALLOCATOR = "sglang.srt.mem_cache.allocator.swa"

BACK = Cell("write_back", 1, "lru", "swa")
THROUGH = Cell("write_through", 1, "lru", "swa")


def window(tokens: int) -> Mapping[str, Any]:
    return {"component": "swa", "window": tokens}


def planted(
    name: str,
    law: str,
    witness: Witness,
    module: str,
    diff: str,
    *also: str,
    cell: Cell = BACK,
) -> Planted:
    edits = (Edit(module, diff),)
    return Planted(name, cell, (law, "no-crash", *also), edits, witness, release="0.5.23")


TOMBSTONE = EvictDevice(1, "swa")

WINDOW = (
    planted(
        "window_of_a_demoted_node_stays_on_the_device",
        "component-in-step",
        Witness("component-in-step", (Insert((1, 2)), EvictDevice(2)), window(2)),
        SWA,
        """
@@ evict_component
-        if EvictLayer.DEVICE in target and cd.value is not None:
+        if target is EvictLayer.ALL and cd.value is not None:
""",
        "component-lru",
        "component-progress",
    ),
    planted(
        "split_leaves_the_whole_window_to_the_lower_half",
        "component-lengths",
        Witness("component-lengths", (Insert((1, 2)), Insert((1, 3))), window(2)),
        SWA,
        """
@@ redistribute_on_node_split
             child.component_data[self.component_type].value = child_swa_value[
-                split_len:
+                :
             ].clone()
         else:
""",
        "component-slots",
        "component-sizes",
    ),
    planted(
        "evicted_window_keeps_its_slots",
        "component-slots",
        Witness("component-slots", (Insert((1, 2)), TOMBSTONE), window(1)),
        SWA,
        """
@@ apply_component_action
-                alloc.free_swa_segment(indices, start_pos=0)
+                pass
""",
        "component-mapping",
    ),
    # SGLang #27586: whoever gets the full slot next frees the window's slot of another
    planted(
        "recovered_tombstone_leaves_a_stale_mapping",
        "component-mapping",
        Witness(
            "component-mapping",
            (Insert((1, 2, 3)), Lock((1, 2, 3)), TOMBSTONE, Insert((1, 2, 3))),
            window(1),
        ),
        SWA,
        """
@@ _set_swa
-        allocator.clear_full_to_swa_mapping(incoming_full)
""",
        "component-slots",
        "component-bytes",
    ),
    planted(
        "backup_of_a_window_mixes_its_nodes_up",
        "component-bytes",
        Witness("component-bytes", (Insert((1,)), Insert((1, 2)), EvictDevice(1)), window(3)),
        SWA,
        """
@@ build_hicache_transfers
-                            [n.component_data[ct].value for n in unbacked_swa_nodes]
+                            [n.component_data[ct].value for n in unbacked_swa_nodes[::-1]]
""",
        "component-slots",
    ),
    planted(
        "tombstone_with_a_host_copy_is_not_listed",
        "component-lru",
        Witness("component-lru", (Insert((1, 2)), TOMBSTONE), window(1)),
        SWA,
        """
@@ evict_component
             if not host_lru.in_list(node):
-                host_lru.insert_mru(node)
+                pass
\x20
         return freed, host_freed
""",
    ),
    planted(
        "evicted_window_still_counts_as_evictable",
        "component-sizes",
        Witness("component-sizes", (Insert((1, 2)), TOMBSTONE), window(1)),
        SWA,
        """
@@ evict_component
             freed = self.reclaimable_value_len(node)
-            self.tree_core.component_evictable_size_[ct] -= freed
             cd.value = None
""",
    ),
    # SGLang #24972: released is less than what was acquired
    planted(
        "unlock_of_a_window_ends_at_its_first_node",
        "component-lock-balance",
        Witness(
            "component-lock-balance",
            (Insert((1,)), Insert((1, 2)), Lock((1, 2)), Unlock((1, 2))),
            window(2),
        ),
        SWA,
        """
@@ release_component_lock
-            if swa_uuid_for_lock and comp.metadata.get(uuid_key) == swa_uuid_for_lock:
+            if swa_uuid_for_lock:
""",
    ),
    planted(
        "lock_of_a_window_ends_at_its_first_node",
        "window-held",
        Witness("window-held", (Insert((1,)), Insert((1, 2)), Lock((1, 2))), window(2)),
        SWA,
        """
@@ acquire_component_lock
-            covered += len(cur.key)
+            covered += sliding_window_size
             if covered >= sliding_window_size:
""",
        "component-locked-stays",
    ),
    planted(
        "eviction_does_not_ask_whether_a_window_is_locked",
        "component-locked-stays",
        Witness("component-locked-stays", (Insert((1, 2)), Lock((1, 2)), TOMBSTONE), window(2)),
        CORE,
        """
@@ get_prev_no_lock
-        while x.component_data[ct].lock_ref > 0:
+        while False:
""",
        "component-sizes",
        cell=THROUGH,
    ),
    planted(
        "eviction_of_windows_ends_after_one_leaf",
        "component-progress",
        Witness(
            "component-progress", (Insert((1,)), Insert((2,)), EvictDevice(2, "swa")), window(1)
        ),
        SWA,
        """
@@ _evict_device_next_node
             self._evict_device_cursor = (
-                lru.cursor_next() if enabled else lru.get_prev_no_lock(x)
+                None
             )
""",
        "progress",
    ),
    planted(
        "newest_window_is_evicted_first",
        "component-order",
        Witness("component-order", (Insert((1,)), Insert((2,)), TOMBSTONE), window(1)),
        SWA,
        """
@@ _evict_device_start
             self._evict_device_cursor = self.tree_core.lru_lists[
                 self.component_type
-            ].get_lru_no_lock()
+            ].head.lru_next[self.component_type]
""",
        "transition",
        "component-progress",
        "progress",
        "component-locked-stays",
    ),
    planted(
        "loaded_window_gives_up_its_host_copy_at_once",
        "component-pinned-until-ack",
        Witness(
            "component-pinned-until-ack",
            (Insert((1, 2)), EvictDevice(2), LoadBack((1, 2))),
            window(2),
        ),
        SWA,
        """
@@ commit_hicache_transfer
                 swa_chunks.append(swa_chunk)
                 offset += n_tokens
+                cd_n.host_value = None
""",
        "component-slots",
    ),
    planted(
        "window_is_handed_out_without_a_wait",
        "read-after-load",
        Witness(
            "read-after-load",
            (Insert((1,)), EvictDevice(1), Insert((2,)), BeginRequest(0, (1, 3), 1)),
            window(1),
        ),
        DEVICE_POOL,
        """
@@ get_key_buffer
-        self._wait_for_layer(layer_id)
         layer_id_pool, is_swa_layer = self.layers_mapping[layer_id]
-        if is_swa_layer:
+        if not is_swa_layer:
+            self._wait_for_layer(layer_id)
+        if is_swa_layer:
             return self.swa_kv_pool.get_key_buffer(layer_id_pool)
""",
    ),
    planted(
        "reset_keeps_the_mapping",
        "component-reset",
        Witness("component-reset", (Insert((1,)), Reset()), window(1)),
        ALLOCATOR,
        """
@@ clear
-        self.full_to_swa_index_mapping[:-1].fill_(0)
""",
        "component-mapping",
    ),
)
