"""The kept sets from which evictions choose."""

from __future__ import annotations

from collections.abc import Iterator

from hicache_model.laws.law import Violation, law
from hicache_model.laws.step import Step
from hicache_model.observations import LEAF_SETS, LOCKS, PINS
from hicache_model.snapshot import Path


@law(
    "host-leaves",
    "The kept set evictable_host_leaves is exactly the evicted, unlocked nodes without a backed-up "
    "child.",
    taught_by="SGLang #19212, fixed in #23537",
    needs=(LEAF_SETS, LOCKS, PINS),
)
def _host_leaves(step: Step) -> Iterator[Violation]:
    kept, due = step.after.evictable_host_leaves, step.family.host_leaves()
    for path in sorted(kept - due, key=Path.order):
        node = step.family.nodes[path]
        backed_up = [c.path for c in step.family.children_of(node) if c.backed_up]
        why = "it is on the device" if not node.evicted else f"it is locked ({node.lock_ref})"
        if node.evicted and not node.lock_ref and node.host_lock:
            why = f"it is pinned ({node.host_lock})"
        if node.evicted and backed_up:
            why = f"its child {backed_up[0]} is still backed up"
        yield Violation(f"node {path} is in evictable_host_leaves, but {why}", (path, *backed_up))
    without = "child" if step.host_leaf == "no_child" else "backed-up child"
    for path in sorted(due - kept, key=Path.order):
        yield Violation(
            f"node {path} is evicted, unlocked and has no {without}, but is not in "
            "evictable_host_leaves",
            (path,),
        )


@law(
    "device-leaves",
    "The kept set of evictable device leaves is exactly the unlocked nodes on the device without a "
    "child on the device.",
    taught_by="SGLang #25068, #30106",
    needs=(LEAF_SETS, LOCKS),
)
def _device_leaves(step: Step) -> Iterator[Violation]:
    kept, due = step.after.evictable_device_leaves, step.family.device_leaves()
    for path in sorted(kept - due, key=Path.order):
        node = step.family.nodes[path]
        children = [c.path for c in step.family.children_of(node) if not c.evicted]
        why = "it is not on the device" if node.evicted else f"it is locked ({node.lock_ref})"
        if not node.evicted and children:
            why = f"its child {children[0]} is still on the device"
        yield Violation(f"node {path} is in the device leaves, but {why}", (path, *children))
    for path in sorted(due - kept, key=Path.order):
        yield Violation(
            f"node {path} is on the device, unlocked and has no child there, but is not in the "
            "device leaves",
            (path,),
        )
