"""Defects of the Mamba states of UnifiedRadixCache."""

from __future__ import annotations

import attrs

from hicache_model.configuration import Configuration
from hicache_model.operations import BeginRequest, EvictDevice, ExtendRequest, Insert, LoadBack
from hicache_verify.catalogue.entry import Entry, NamedTrace, SourcePatch

FREED = "            self.cache.req_to_token_pool.mamba_allocator.free(prep.allocated_mamba_slot)\n"

CLEARED_STATE = Entry(
    identifier="cleared-state",
    title="A request goes on behind a cached prefix with an empty state",
    references=(),
    laws=("component-bytes",),
    write_policies=("write_back",),
    affected=("0.5.22", "0.5.23"),
    fixed=(),
    shown_on=("0.5.23",),
    traces=(
        NamedTrace(
            "a load for another request",
            "The state of [1, 2] is on the host alone, and its full KV is being loaded for "
            "[1, 2, 3]: the request may not load the state, and goes on behind [1], whose state is "
            "on the device.",
            Configuration(device_slots=8, host_slots=12, component="mamba", component_slots=6),
            (
                Insert((1,)),
                Insert((1, 2)),
                Insert((1, 2, 3)),
                EvictDevice(2),
                LoadBack((1, 2, 3)),
                BeginRequest(0, (1, 2, 4), 3),
            ),
        ),
    ),
    patch=SourcePatch(
        "sglang.srt.mem_cache.unified_cache.components.mamba",
        FREED,
        "            req.kv.mamba_cow_src_index = self.tree_core.get_component_device_value(\n"
        "                req.last_node, self.component_type\n"
        "            )\n"
        "            if req.kv.mamba_cow_src_index is not None:\n"
        "                return\n" + FREED,
    ),
    story=(
        "A lookup copies the state of the node that it may go on from, wherever that is: where "
        "only the host has it, nothing is copied, and the load back is to bring it. When the load "
        "back is called off (another load has claimed the node, or there is no room), the request "
        "falls back on the last node on the device, but nobody copies that node's state: its own "
        "is taken afresh and cleared, and the prompt is computed on from nothing, behind a prefix "
        "that it has the full KV of. The output is wrong, and so is what the request gives to the "
        "tree. The patch copies the state of the node that it falls back on."
    ),
    looks_like=lambda divergence: isinstance(divergence.operation, BeginRequest),
    target="sglang-unified",
    upstream_test="cleared_state.py",
)

RUST_CLEARED_STATE = attrs.evolve(
    CLEARED_STATE,
    identifier="cleared-state-rust",
    title="A request goes on behind a cached prefix with an empty state, with the Rust core too",
    target="sglang-unified-rust",
)

FLOORED = "            effective_cache_len = comp.floor_cache_len(effective_cache_len)\n"

STATE_AHEAD = Entry(
    identifier="state-ahead",
    title="A cached Mamba state has seen tokens that its node does not have",
    references=(),
    laws=("component-bytes", "lock-balance", "component-lock-balance", "transition"),
    write_policies=("write_back", "write_through", "write_through_selective"),
    affected=("0.5.22", "0.5.23"),
    fixed=(),
    shown_on=("0.5.23",),
    traces=(
        NamedTrace(
            "a second chunk of one token",
            "Pages of two tokens: the third chunk begins after three tokens, its state is the one "
            "after five, and the node that gets it ends after four.",
            Configuration(
                write_policy="write_through",
                page_size=2,
                device_slots=8,
                host_slots=12,
                component="mamba",
                state_buffers=2,
                track_interval=2,
            ),
            (
                BeginRequest(0, (1, 2, 3, 4, 5), 2),
                ExtendRequest(0, 1),
                ExtendRequest(0, 2),
            ),
        ),
    ),
    patch=SourcePatch(
        "sglang.srt.mem_cache.unified_radix_cache",
        FLOORED,
        FLOORED
        + "        if self.is_mamba_enabled and effective_cache_len % self.page_size:\n"
        + "            effective_cache_len = 0\n",
    ),
    story=(
        "With an extra buffer (what servers take by default where batches overlap) and pages of "
        "more than one token, a forward pass over a prompt keeps its state at whole steps counted "
        "from where the chunk began. The first chunk of a prompt ends with a page, but the next "
        "ones are cut by what is left of the budget (schedule_policy.py, add_chunked_req): in a "
        "mixed batch one token less for each request that decodes, in a full pool any number. From "
        "then on states lie between the ends of pages. The insert cuts its key to whole pages and "
        "takes the state as it is, so a node gets the state of a longer prompt; a request that "
        "goes on from there computes some tokens twice, and its output is wrong without any error. "
        "SGLang #34808 mends the same for the wider pages of decode context parallelism alone. The "
        "patch gives nothing to the tree where the state is of a length that no node can have."
    ),
    looks_like=lambda divergence: isinstance(divergence.operation, ExtendRequest),
    target="sglang-unified",
    upstream_test="state_ahead.py",
)

RUST_STATE_AHEAD = attrs.evolve(
    STATE_AHEAD,
    identifier="state-ahead-rust",
    title="A cached Mamba state has seen tokens that its node lacks, with the Rust core too",
    target="sglang-unified-rust",
)
