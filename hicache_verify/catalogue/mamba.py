"""Defects of the Mamba states of UnifiedRadixCache."""

from __future__ import annotations

from hicache_model.configuration import Configuration
from hicache_model.operations import BeginRequest, EvictDevice, Insert, LoadBack
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
