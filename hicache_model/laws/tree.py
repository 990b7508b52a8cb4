"""The tree as a whole: no strays, sizes that add up, tiers closed towards the root."""

from __future__ import annotations

from collections.abc import Iterator

from hicache_model.definitions import evictable_size, protected_size
from hicache_model.laws.law import Violation, law
from hicache_model.laws.step import Step
from hicache_model.observations import LOCKS


@law(
    "no-orphan",
    "Only leaves leave the tree: every node has a copy somewhere and a parent, and nothing is kept "
    "for a node outside the tree.",
    taught_by="SGLang #30106, #22592; TensorRT-LLM #15018",
)
def _no_orphan(step: Step) -> Iterator[Violation]:
    for stray in step.after.strays:
        yield Violation(f"{stray} is kept, but is not in the tree")
    for node in step.family.nodes.values():
        if node.evicted and not node.backed_up:
            yield Violation(
                f"node {node.path} is in the tree with no copy in any tier", (node.path,)
            )
        above = step.family.parents[node.path]
        if above is not None and above not in step.family.nodes:
            yield Violation(f"node {node.path} has no parent {above} in the tree", (node.path,))
    for transfer in step.after.transfers:
        if None in transfer.anchors:
            yield Violation(f"a {transfer.kind} in flight belongs to a node that left the tree")
    for number, request in step.after.requests.items():
        if request.anchor is not None and request.anchor not in step.family.nodes:
            yield Violation(f"request {number} locks {request.anchor}, which left the tree")


@law(
    "sizes",
    "Evictable size is the unlocked tokens on the device, protected size the locked ones.",
    taught_by="SGLang #35270",
    needs=(LOCKS,),
)
def _sizes(step: Step) -> Iterator[Violation]:
    nodes = step.family.nodes.values()
    for name, kept, due in (
        ("evictable", step.after.evictable_size, evictable_size(nodes)),
        ("protected", step.after.protected_size, protected_size(nodes)),
    ):
        if kept != due:
            yield Violation(f"{name} size is kept as {kept}, but the nodes add up to {due}")


@law(
    "device-prefix-closed",
    "The parent of a node on the device is on the device.",
    taught_by="SGLang #25088",
)
def _device_prefix_closed(step: Step) -> Iterator[Violation]:
    for node in step.family.nodes.values():
        parent = step.family.parent_of(node)
        if not node.evicted and parent is not None and parent.evicted:
            yield Violation(
                f"node {node.path} is on the device, but its parent {parent.path} is not",
                (node.path, parent.path),
            )


@law(
    "backup-prefix-closed",
    "Under write_through and write_through_selective the parent of a backed-up node is backed up.",
    taught_by="SGLang #30106, #31902; upkeep changed in 0.5.11",
)
def _backup_prefix_closed(step: Step) -> Iterator[Violation]:
    if step.configuration.write_policy == "write_back":
        return
    for node in step.family.nodes.values():
        parent = step.family.parent_of(node)
        if node.backed_up and parent is not None and not parent.backed_up:
            yield Violation(
                f"node {node.path} is backed up, but its parent {parent.path} is not",
                (node.path, parent.path),
            )
