"""Planted bugs in keys of pairs (EAGLE): what two have in common, and the token without a pair."""

from __future__ import annotations

from hicache_model.operations import BeginRequest, FinishRequest, Insert, Match
from hicache_verify.campaigns.cells import Cell
from tests.planted.bug import RADIX, Edit, Planted, Witness

UNIFIED = "sglang.srt.mem_cache.unified_radix_cache"
SWA = "sglang.srt.mem_cache.unified_cache.components.swa"

BACK = Cell("write_back", 1, "lru", bigram=True)
BACK_PAGED = Cell("write_back", 4, "lru", bigram=True)
WINDOW = Cell("write_through", 4, "lru", "swa", bigram=True)

PAIRS = (
    Planted(
        "pairs_are_alike_where_their_first_tokens_are",
        BACK,
        ("longest-prefix", "answer", "transition"),
        (
            Edit(
                RADIX,
                """
@@ match
         if self.is_bigram:
-            matched = max(0, min(matched_tokens - 1, len(self), len(other)))
+            matched = max(0, min(matched_tokens, len(self), len(other)))
""",
            ),
        ),
        Witness("longest-prefix", (Insert((1, 2, 3)), Match((1, 2, 4)))),
    ),
    # the last pair of a prompt is found too, and with it KV that has to be computed
    Planted(
        "lookup_of_a_prompt_goes_on_to_its_end",
        BACK,
        ("answer",),
        (
            Edit(
                RADIX,
                """
@@ _raw_len
-        if self.limit is not None and self.limit < n:
+        if False:
             return self.limit
         return n
""",
            ),
        ),
    ),
    # the request would read and free as the tree's what is its own
    Planted(
        "request_takes_its_unpaired_token_for_the_trees",
        BACK,
        ("conservation",),
        (
            Edit(
                RADIX,
                """
@@ cache_unfinished_req
-        req.cache_protected_len = len(new_indices)
+        req.cache_protected_len = len(kv_indices)
""",
            ),
        ),
        Witness("conservation", (BeginRequest(0, (1, 2), 2),)),
    ),
    Planted(
        "finished_request_keeps_a_page_without_its_last_pair",
        BACK_PAGED,
        ("conservation",),
        (
            Edit(
                RADIX,
                """
@@ cache_finished_req
-                (kv_indices[key_len:], key_len),
+                (kv_indices[key_len + 4 :], key_len + 4),
""",
            ),
        ),
        Witness("conservation", (BeginRequest(0, (1, 2, 3, 4), 4), FinishRequest(0))),
    ),
    # SGLang #34870
    Planted(
        "window_is_measured_by_tokens_and_not_by_pairs",
        WINDOW,
        ("transition",),
        (
            Edit(
                UNIFIED,
                """
@@ checkpoint_into_tree
             # one shorter than the tokens it spans, so measure the key.
             for comp in self._components_tuple:
-                comp.free_out_of_window_slots(req, len(radix_key) - 1, insert_params)
+                comp.free_out_of_window_slots(req, effective_cache_len - 1, insert_params)
""",
            ),
        ),
        release="0.5.23",
    ),
    Planted(
        "branch_of_a_window_lacks_its_last_pair",
        WINDOW,
        ("transition", "lock-balance", "device-leaves"),
        (
            Edit(
                SWA,
                """
@@ prepare_for_caching_req
-        effective_cache_len = branching_seqlen + int(self.tree_core.is_eagle)
+        effective_cache_len = branching_seqlen
""",
            ),
        ),
        release="0.5.23",
    ),
)
