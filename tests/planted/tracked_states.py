"""Planted bugs in the states that a request keeps for the tree in its extra buffer (Mamba)."""

from __future__ import annotations

from hicache_model.operations import (
    BeginRequest,
    DecodeRequest,
    FinishRequest,
    Operation,
    RetractRequest,
)
from hicache_verify.campaigns.cells import Cell
from tests.planted.bug import Edit, Planted, Witness
from tests.planted.states import MAMBA

ROWS = "sglang.srt.mem_cache.memory_pool"
ALLOCATION = "sglang.srt.mem_cache.allocation"

THROUGH = Cell("write_through", 1, "lru", "mamba")
PAGED = Cell("write_through", 4, "lru", "mamba")
PAGE, OTHER = (1, 1, 1, 1), (2, 2, 2, 2)


def planted(
    name: str,
    law: str,
    module: str,
    trace: tuple[Operation, ...] | None,
    diff: str,
    *also: str,
    buffers: int = 2,
    slots: int = 8,
    cell: Cell = THROUGH,
) -> Planted:
    sizes = {
        "component": "mamba",
        "component_slots": slots,
        "state_buffers": buffers,
        "track_interval": cell.page_size,
        "device_slots": 8 * cell.page_size,
        "host_slots": 12 * cell.page_size,
    }
    witness = None if trace is None else Witness(law, trace, sizes)
    edits = (Edit(module, diff),)
    return Planted(name, cell, (law, "no-crash", *also), edits, witness, release="0.5.23")


DECODED = (BeginRequest(0, (1, 2), 2), DecodeRequest(0, 3), FinishRequest(0))
PAGES_DECODED: tuple[Operation, ...] = (
    BeginRequest(0, PAGE, 4),
    *(DecodeRequest(0, token) for token in (*OTHER, *OTHER, *OTHER)),
    FinishRequest(0),
)

TRACKED_STATES = (
    planted(
        "request_gives_the_tree_the_buffer_whose_turn_is_next",
        "component-bytes",
        ROWS,
        (BeginRequest(0, (1, 2), 2),),
        """
@@ donate_mamba_ping_pong_slot
-        donate_idx = self.get_mamba_ping_pong_keep_idx(req)
+        donate_idx = req.kv.mamba_next_track_idx
         mamba_value_donated = (
             req.kv.mamba_ping_pong_track_buffer[donate_idx].unsqueeze(-1).clone()
""",
    ),
    planted(
        "table_of_buffers_still_has_the_slot_that_was_given_away",
        "component-bytes",
        ROWS,
        (BeginRequest(0, (1, 2), 2), DecodeRequest(0, 3)),
        """
@@ set_mamba_ping_pong_slot
-        self.req_index_to_mamba_ping_pong_track_buffer_mapping[req.kv.req_pool_idx] = (
-            req.kv.mamba_ping_pong_track_buffer
-        )
         # value is polymorphic: a slot tensor fills the entry, the int -1 empties it.
""",
        "component-slots",
        buffers=1,
    ),
    planted(
        "state_of_a_finished_request_is_freed_with_its_buffers",
        "component-slots",
        MAMBA,
        DECODED,
        """
@@ cleanup_after_caching_req
-                keep_idx = prepared_keep_idx if mamba_value_inserted else None
+                keep_idx = None
""",
    ),
    planted(
        "state_that_the_tree_had_already_is_not_freed",
        "component-slots",
        MAMBA,
        (
            BeginRequest(0, (1, 2), 2),
            BeginRequest(1, (1, 2), 2),
            DecodeRequest(0, 3),
            DecodeRequest(1, 3),
            FinishRequest(0),
            FinishRequest(1),
        ),
        """
@@ cleanup_after_caching_req
-                keep_idx = prepared_keep_idx if mamba_value_inserted else None
+                keep_idx = prepared_keep_idx
""",
        slots=12,
    ),
    planted(
        "finished_request_gives_its_state_for_less_than_it_is_of",
        "component-bytes",
        MAMBA,
        PAGES_DECODED,
        """
@@ _select_finished_checkpoint
-        cache_len = req.kv.mamba_last_track_seqlen or 0
+        cache_len = (req.kv.mamba_last_track_seqlen or 0) // 8 * 4
""",
        "transition",
        cell=PAGED,
    ),
    planted(
        "no_state_is_kept_where_prompts_part",
        "transition",
        MAMBA,
        None,
        """
@@ finalize_match_result_in_tree_core
-            aligned_seqlen if aligned_seqlen > mamba_boundary_len else None
+            aligned_seqlen if aligned_seqlen > result.full_kv_hit_length else None
""",
        cell=PAGED,
    ),
    planted(
        "room_is_made_for_the_state_of_a_request_without_its_buffers",
        "no-crash",
        ALLOCATION,
        None,
        """
@@ ensure_mamba_capacity
-            needed += req_to_token_pool.mamba_initial_tracking_slots
+            needed += 0
""",
    ),
    planted(
        "retracted_request_keeps_its_buffers",
        "component-slots",
        ROWS,
        (BeginRequest(0, (1, 2), 1), RetractRequest(0)),
        """
@@ free_mamba_cache
-            positions = [p for p in range(size) if p != keep and not empty[p]]
+            positions = [p for p in range(size) if keep is not None and p != keep]
""",
    ),
)
