"""Planted bugs in the Python core of UnifiedRadixCache: one line each, where the upkeep happens.

They are found as users find theirs: in a source tree (test_planted_source.py).
"""

from __future__ import annotations

from collections.abc import Mapping

from hicache_verify.campaigns.cells import Cell
from tests.planted.bug import BACK, CONTROLLER, SELECTIVE, THROUGH, Edit, Planted
from tests.planted.forward import DEVICE_POOL

RELEASE = "0.5.23"

CORE = "sglang.srt.mem_cache.unified_cache.unified_tree_core"
FULL = "sglang.srt.mem_cache.unified_cache.components.full"
CACHE = "sglang.srt.mem_cache.unified_radix_cache"
COMMON = "sglang.srt.mem_cache.common"


def planted(name: str, cell: Cell, found_under: tuple[str, ...], module: str, diff: str) -> Planted:
    return Planted(name, cell, found_under, (Edit(module, diff),), release=RELEASE)


_TABLE = (
    planted(
        "host_leaf_asks_whether_a_child_is_on_the_host_alone",
        BACK,
        ("host-leaves",),
        CORE,
        """
@@ _is_host_leaf
-        if len(node.children) > 0:
+        if any(not child.evicted for child in node.children.values()):
""",
    ),
    planted(
        "device_leaf_asks_whether_a_child_is_backed_up",
        THROUGH,
        ("device-leaves",),
        CORE,
        """
@@ _is_device_leaf
-            child.component_data[ct].value is not None
+            not child.backuped
""",
    ),
    planted(
        "demotion_forgets_the_parent",
        BACK,
        ("device-leaves",),
        CORE,
        """
@@ _demote
-        self._update_evictable_leaf_sets(node.parent)
""",
    ),
    planted(
        "revival_forgets_the_parent",
        BACK,
        ("device-leaves",),
        CORE,
        """
@@ _unevict_node_on_insert
-            self._update_evictable_leaf_sets(node.parent)
+            pass
""",
    ),
    planted(
        "revival_forgets_the_duplicate",
        BACK,
        ("own-check", "transition"),
        CORE,
        """
@@ _unevict_node_on_insert
-        self._update_duplicate_tracking(node)
""",
    ),
    planted(
        "split_forgets_the_load_in_flight",
        BACK,
        ("pinned-until-ack", "transition"),
        CORE,
        """
@@ _split_node
-        new_node.load_back_pending_id = child.load_back_pending_id
""",
    ),
    planted(
        "split_forgets_the_write_in_flight",
        THROUGH,
        ("split-neutral",),
        CACHE,
        """
@@ _replace_pending_write_through_node
-                updated_node_ids.extend(new_node_ids)
+                updated_node_ids.append(node_id)
""",
    ),
    planted(
        "half_that_is_split_off_is_not_marked_as_written",
        THROUGH,
        ("split-neutral",),
        CORE,
        """
@@ _split_node
-            new_node.write_through_pending_id = ack_id
+            pass
""",
    ),
    planted(
        "lookup_does_not_tell_of_its_split",
        THROUGH,
        ("split-neutral",),
        CORE,
        """
@@ _match_post_processor
-            cache_actions=[action] if action is not None else [],
+            cache_actions=[],
""",
    ),
    planted(
        "split_forgets_the_pin",
        BACK,
        ("lock-balance",),
        FULL,
        """
@@ redistribute_on_node_split
-        new_parent.component_data[ct].host_lock_ref = child_cd.host_lock_ref
""",
    ),
    planted(
        "load_back_is_not_counted",
        BACK,
        ("sizes",),
        FULL,
        """
@@ commit_hicache_transfer
-                    self.tree_core.component_evictable_size_[ct] += ledger
+                    pass
""",
    ),
    planted(
        "complete_load_keeps_its_pin",
        BACK,
        ("lock-balance",),
        CACHE,
        """
@@ loading_check
-                self.dec_host_lock_ref(node, host_lock_params)
""",
    ),
    planted(
        "complete_load_stays_marked",
        BACK,
        ("own-check", "transition"),
        CORE,
        """
@@ finish_load_back
-                node.load_back_pending_id = None
""",
    ),
    planted(
        "keys_are_handed_out_without_a_wait",
        BACK,
        ("read-after-load",),
        DEVICE_POOL,
        """
@@ MHATokenToKVPool.get_key_buffer
         # same applies to get_value_buffer and get_kv_buffer
-        if self.layer_transfer_counter is not None:
-            self.layer_transfer_counter.wait_until(layer_id - self.start_layer)
         return self._get_key_buffer(layer_id)
""",
    ),
    planted(
        "backup_skips_the_ancestors",
        SELECTIVE,
        ("backup-prefix-closed",),
        CORE,
        """
@@ _build_backup_kv_action
-                chain.append(ancestor)
""",
    ),
    planted(
        "complete_write_keeps_its_lock",
        THROUGH,
        ("lock-balance",),
        CACHE,
        """
@@ _finish_write_through_ack
-            self.dec_lock_ref(lock_node_id, lock_params)
+            pass
""",
    ),
    planted(
        "only_the_first_queued_write_is_started",
        THROUGH,
        ("lock-balance", "bytes"),
        CONTROLLER,
        """
@@ start_writing
-        op = CacheOperation.merge_ops(self.write_queue)
+        op = CacheOperation.merge_ops(self.write_queue[:1])
""",
    ),
    planted(
        "host_pressure_drops_what_is_pinned",
        BACK,
        ("locked-stays",),
        CORE,
        """
@@ drop_subtree_no_host
-                    cd.lock_ref > 0 or cd.host_lock_ref > 0 for cd in cur.component_data
+                    cd.lock_ref > 0 for cd in cur.component_data
""",
    ),
    planted(
        "host_pressure_takes_a_pinned_copy",
        BACK,
        ("locked-stays",),
        CORE,
        """
@@ _can_reclaim_full_host_duplicate
-        return cd.host_lock_ref == 0
+        return True
""",
    ),
    planted(
        "host_pressure_takes_what_a_load_reads",
        BACK,
        ("pinned-until-ack",),
        CORE,
        """
@@ _can_reclaim_full_host_duplicate
-            or node.load_back_pending_id is not None
""",
    ),
    planted(
        "eviction_does_not_go_on_to_the_parent",
        BACK,
        ("progress",),
        FULL,
        """
@@ _evict_device_next_node
-            and lv.parent in self.tree_core.evictable_device_leaves
+            and lv.parent in self.tree_core.evictable_host_leaves
""",
    ),
    planted(
        "host_eviction_does_not_count_what_it_freed",
        BACK,
        ("transition",),
        CORE,
        """
@@ _evict_host_leaf
-            tracker[comp.component_type] += hf
+            pass
""",
    ),
    planted(
        "unlocking_counts_a_node_that_is_locked_still",
        BACK,
        ("sizes",),
        FULL,
        """
@@ release_component_lock
-            if cd.lock_ref == 1 and cd.value is not None:
+            if cd.lock_ref >= 1 and cd.value is not None:
""",
    ),
    planted(
        "reset_keeps_the_host_slots",
        BACK,
        ("conservation",),
        CACHE,
        """
@@ _reset_full
-            self.cache_controller.mem_pool_host.clear()
""",
    ),
    planted(
        "node_that_left_the_tree_keeps_its_id",
        THROUGH,
        ("no-orphan",),
        CORE,
        """
@@ _remove_leaf_from_parent
-        self._unregister_node(node)
""",
    ),
    planted(
        "lookup_does_not_count_its_last_nodes",
        BACK,
        ("longest-prefix",),
        CORE,
        """
@@ _match_prefix_helper
-                value.append(child.component_data[BASE_COMPONENT_TYPE].value)
+                pass
""",
    ),
    planted(
        "request_frees_the_prefix_that_it_shares",
        BACK,
        ("single-owner",),
        CORE,
        """
@@ _insert_overlap_step
-        dup_start = max(0, state.params.prev_prefix_len - state.total_prefix_length)
+        dup_start = 0
""",
    ),
    planted(
        "touch_does_not_tell_of_its_split",
        THROUGH,
        ("split-neutral",),
        CACHE,
        """
@@ touch_prefix
         result = self.tree_core.match_prefix(MatchPrefixParams(key=key))
-        self._apply_cache_actions(result.cache_actions)
""",
    ),
    planted(
        "touch_stops_a_page_early",
        BACK,
        ("policy-order", "transition"),
        COMMON,
        """
@@ touch_waiting_prefix
-        _req_radix_key(tree_cache, req, req.origin_input_ids + req.output_ids)
+        _req_radix_key(tree_cache, req, req.origin_input_ids[:-1] + req.output_ids)
""",
    ),
    planted(
        "retracted_kv_is_kept_after_it_was_restored",
        BACK,
        ("conservation", "single-owner", "no-crash"),
        CACHE,
        """
@@ restore_kv_cache
         completion.finish_event.synchronize()
-        self.discard_kv_cache_backup(backup)
+        pass
""",
    ),
    planted(
        "retraction_does_not_wait_for_its_copy",
        THROUGH,
        ("bytes", "lock-balance"),
        CACHE,
        """
@@ backup_kv_cache
-            completion.finish_event.synchronize()
         except Exception:
""",
    ),
    planted(
        "abort_leaves_what_waits_on_the_host",
        BACK,
        ("conservation",),
        COMMON,
        """
@@ discard_kv_cache_backup
-    unified_cache.discard_kv_cache_backup(req.kv.retraction_backup)
-    req.kv.retraction_backup = None
+    req.kv.retraction_backup = None
""",
    ),
    planted(
        "retraction_keeps_one_token_less",
        BACK,
        ("bytes", "lengths-agree", "transition"),
        CACHE,
        """
@@ _retraction_device_transfers
-        num_tokens = req.seqlen - 1
+        num_tokens = req.seqlen - 2
""",
    ),
    planted(
        "checkpoint_keeps_the_old_lock",
        BACK,
        ("lock-balance",),
        CACHE,
        """
@@ checkpoint_into_tree
-        self.unlock(req.lock)
""",
    ),
    planted(
        "checkpoint_does_not_say_where_to_go_on",
        BACK,
        ("single-owner", "conservation"),
        COMMON,
        """
@@ checkpoint_kv_cache
-    req.prefix_len = req.extend_end
""",
    ),
    planted(
        "checkpoint_does_not_protect_what_it_gave",
        BACK,
        ("single-owner",),
        CACHE,
        """
@@ checkpoint_into_tree
-        req.kv.cache_protected_len = len(new_indices)
""",
    ),
    planted(
        "eviction_does_not_wait_for_the_copy",
        BACK,
        ("no-crash", "pinned-until-ack"),
        CACHE,
        """
@@ _evict_components
-                            self.writing_check(write_back=True)
""",
    ),
)

UNIFIED: Mapping[str, Planted] = {bug.name: bug for bug in _TABLE}
