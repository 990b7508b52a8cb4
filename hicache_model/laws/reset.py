"""What a reset leaves: nothing."""

from __future__ import annotations

from collections.abc import Iterator

from hicache_model import operations as ops
from hicache_model.laws.law import Violation, law
from hicache_model.laws.step import Step


@law(
    "reset-is-new",
    "After a reset the cache is as constructed: nothing cached, everything free.",
    taught_by="SGLang #23216; 0.5.14 (host_mem_release_queue)",
)
def _reset_is_new(step: Step) -> Iterator[Violation]:
    if not isinstance(step.operation, ops.Reset):
        return
    after, configuration = step.after, step.configuration
    found = {
        "nodes in the tree": len(after.nodes),
        "members of the device leaves": after.device_leaf_count,
        "members of the host leaves": after.host_leaf_count,
        "evictable tokens": after.evictable_size,
        "protected tokens": after.protected_size,
        "transfers in flight": len(after.transfers),
        "device pages in use": configuration.device_slots // configuration.page_size
        - len(after.device_free),
        "host slots in use": configuration.host_slots - len(after.host_free),
    }
    for what, count in found.items():
        if count:
            yield Violation(f"after a reset there are {count} {what}")
