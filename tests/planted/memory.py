"""Planted bugs in what is allocated and freed, and in who owns it."""

from __future__ import annotations

from hicache_model.operations import (
    BeginRequest,
    EvictDevice,
    EvictHost,
    ExtendRequest,
    Insert,
    Match,
    Reset,
)
from tests.planted.bug import (
    BACK,
    BACK_PAGED,
    CACHE,
    CONTROLLER,
    HOST_POOL,
    PAGED,
    RADIX,
    THROUGH,
    TOKENS,
    TRANSFER,
    Edit,
    Planted,
    Witness,
)

MEMORY = (
    Planted(
        "device_slots_freed_twice",
        THROUGH,
        ("free-once", "single-owner"),
        (
            Edit(
                CACHE,
                """
@@ _evict_regular
         self.cache_controller.mem_pool_device_allocator.free(node.value)
+        self.cache_controller.mem_pool_device_allocator.free(node.value)
""",
            ),
        ),
    ),
    Planted(
        "host_slots_freed_twice",
        BACK,
        ("free-once",),
        (
            Edit(
                HOST_POOL,
                """
@@ free
         self.release_slots.append(indices_cpu)
+        self.release_slots.append(indices_cpu)
""",
            ),
        ),
        Witness("free-once", (Insert((1,)), EvictDevice(1), EvictHost(1))),
    ),
    Planted(
        "page_freed_once_a_token",
        BACK_PAGED,
        ("free-once",),
        (
            Edit(
                PAGED,
                """
@@ free
-            self._release_page_ids(torch.unique(free_index // self.page_size))
+            self._release_page_ids(free_index // self.page_size)
""",
            ),
        ),
    ),
    Planted(
        "host_slots_never_freed",
        BACK,
        ("conservation",),
        (
            Edit(
                CONTROLLER,
                """
@@ evict_host
-        self.mem_pool_host.free(host_indices)
""",
            ),
        ),
        Witness("conservation", (Insert((1,)), EvictDevice(1), EvictHost(1))),
    ),
    Planted(
        "written_back_slots_are_not_freed_at_the_end",
        BACK,
        ("conservation",),
        (
            Edit(
                CACHE,
                """
@@ _evict_write_back
             self._promote_parent(x, heap)
-        flush_staged()
""",
            ),
        ),
    ),
    Planted(
        "duplicates_are_not_reported",
        BACK,
        ("conservation",),
        (
            Edit(
                CACHE,
                """
@@ insert
                     self._inc_hit_count(node, chunked)
-                    total_prefix_length += prefix_len
""",
            ),
        ),
    ),
    Planted(
        "retracted_request_frees_nothing",
        BACK,
        ("conservation",),
        (
            Edit(
                RADIX,
                """
@@ cache_finished_req
-            freed_end = key_len
+            freed_end = req.cache_protected_len
""",
            ),
        ),
    ),
    Planted(
        "finished_request_forgets_its_last_page",
        BACK_PAGED,
        ("conservation",),
        (
            Edit(
                RADIX,
                """
@@ cache_finished_req
-                (kv_indices[key_len:], key_len),
""",
            ),
        ),
    ),
    Planted(
        "padding_slot_is_given_out",
        BACK,
        ("conservation",),
        (
            Edit(
                TOKENS,
                """
@@ clear
-            1, self.size + 1, dtype=torch.int64, device=self.device
+            0, self.size, dtype=torch.int64, device=self.device
""",
            ),
        ),
    ),
    Planted(
        "reset_forgets_the_host_pool",
        BACK,
        ("conservation",),
        (
            Edit(
                CACHE,
                """
@@ reset
-        self.token_to_kv_pool_host.clear()
""",
            ),
        ),
        Witness("reset-is-new", (Insert((1,)), EvictDevice(1), Reset())),
    ),
    Planted(
        "reset_forgets_the_host_leaves",
        BACK,
        ("no-orphan",),
        (
            Edit(
                CACHE,
                """
@@ reset
-        self.evictable_host_leaves.clear()
""",
            ),
        ),
        Witness("reset-is-new", (Insert((1,)), EvictDevice(1), Reset())),
    ),
    Planted(
        "drop_forgets_what_hangs_below",
        BACK,
        ("no-orphan", "conservation"),
        (
            Edit(
                CACHE,
                """
@@ _drop_subtree_no_host
-            stack.extend(n.children.values())
""",
            ),
        ),
    ),
    Planted(
        "revived_tokens_are_reported_as_duplicates",
        BACK,
        ("single-owner",),
        (
            Edit(
                CACHE,
                """
@@ insert
                     node.value = value[:prefix_len].clone()
+                    total_prefix_length += prefix_len
""",
            ),
        ),
        Witness("single-owner", (Insert((1,)), EvictDevice(1), Insert((1,)))),
    ),
    Planted(
        "loaded_nodes_share_slots",
        BACK,
        ("single-owner",),
        (
            Edit(
                CACHE,
                """
@@ load_back
-            offset += len(node.host_value)
""",
            ),
        ),
    ),
    Planted(
        "allocated_slot_stays_free",
        BACK,
        ("single-owner",),
        (
            Edit(
                TOKENS,
                """
@@ alloc
-        self.free_pages = self.free_pages[need_size:]
+        self.free_pages = self.free_pages[need_size - 1 :]
""",
            ),
        ),
    ),
    Planted(
        "unfinished_request_frees_what_the_tree_protects",
        BACK,
        ("single-owner", "free-once"),
        (
            Edit(
                RADIX,
                """
@@ cache_unfinished_req
-            kv_indices[req.cache_protected_len : new_prefix_len],
-            start_pos=req.cache_protected_len,
+            kv_indices[:new_prefix_len],
+            start_pos=0,
""",
            ),
        ),
    ),
    Planted(
        "unfinished_request_forgets_what_the_tree_protects",
        BACK,
        ("single-owner",),
        (
            Edit(
                RADIX,
                """
@@ cache_unfinished_req
-        req.cache_protected_len = len(new_indices)
""",
            ),
        ),
    ),
    Planted(
        "unfinished_request_keeps_reading_the_slots_it_freed",
        BACK,
        ("single-owner", "bytes"),
        (
            Edit(
                RADIX,
                """
@@ cache_unfinished_req
-        self.req_to_token_pool.write(
-            (req.req_pool_idx, slice(req.cache_protected_len, len(new_indices))),
-            new_indices[req.cache_protected_len :],
-        )
""",
            ),
        ),
        Witness(
            "single-owner",
            (BeginRequest(0, (1, 2), 1), Insert((1,)), ExtendRequest(0, 1)),
        ),
    ),
    Planted(
        "node_keeps_a_view_of_the_requests_row",
        BACK,
        ("single-owner", "bytes", "conservation", "free-once"),
        (
            Edit(
                RADIX,
                """
@@ cache_finished_req
-        values = kv_indices[:key_len].to(dtype=torch.int64, copy=True)
+        values = kv_indices[:key_len]
""",
            ),
            Edit(
                CACHE,
                """
@@ insert
-            new_node.value = value.clone()
+            new_node.value = value
""",
            ),
        ),
    ),
    Planted(
        "split_in_the_middle_of_a_page",
        BACK_PAGED,
        ("single-owner", "no-crash", "transition"),
        (
            Edit(
                RADIX,
                """
@@ RadixKey.match
-        return (matched_tokens // page_size) * page_size
+        return matched_tokens
""",
            ),
        ),
    ),
    Planted(
        "split_cuts_the_host_copy_one_late",
        THROUGH,
        ("lengths-agree",),
        (
            Edit(
                CACHE,
                """
@@ _split_node
-            new_node.host_value = child.host_value[:split_len].clone()
-            child.host_value = child.host_value[split_len:].clone()
+            new_node.host_value = child.host_value[: split_len + 1].clone()
+            child.host_value = child.host_value[split_len + 1 :].clone()
""",
            ),
        ),
        Witness("lengths-agree", (Insert((1, 2)), Match((1,)))),
    ),
    Planted(
        "load_moves_only_the_first_layer",
        BACK,
        ("bytes",),
        (
            Edit(
                TRANSFER,
                """
@@ submit_host_to_device
-            for layer_id in range(layer_num):
+            for layer_id in range(1):
""",
            ),
        ),
    ),
)
