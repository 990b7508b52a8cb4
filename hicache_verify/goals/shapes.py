"""Goals of the tree's shape, and of pools that are full."""

from __future__ import annotations

from collections import Counter

from hicache_model.reference import Reference
from hicache_model.tree import TreeNode
from hicache_verify.goals.goal import WRITE_BACK, Goal, Where, some_child, some_node, state


def _evicted_chain_of_three(node: TreeNode) -> bool:
    upper = node.parent
    return bool(
        upper and upper.parent and not (node.on_device or upper.on_device or upper.parent.on_device)
    )


def _two_evicted_children(node: TreeNode) -> bool:
    return not node.on_device and sum(not c.on_device for c in node.children.values()) >= 2


def _mixed_children(node: TreeNode) -> bool:
    return some_child(node, lambda c: c.on_device) and some_child(node, lambda c: not c.on_device)


def _same_first_page(model: Reference) -> bool:
    firsts = Counter(first for _, first in model.tree.root.children)
    return any(count > 1 for count in firsts.values())


def _differ_inside_a_page(model: Reference) -> bool:
    for node in (model.tree.root, *model.tree.by_path.values()):
        first = Counter((namespace, page[0]) for namespace, page in node.children)
        if any(count > 1 for count in first.values()):
            return True
    return False


def _device_full(model: Reference) -> bool:
    return model.device_free() < model.page_size


def _host_full(model: Reference) -> bool:
    return model.host_free() < model.page_size


GOALS: tuple[Goal, ...] = (
    some_node(
        "an evicted parent of an evicted child",
        "host-leaves, #19212",
        lambda n: not n.on_device and some_child(n, lambda c: not c.on_device),
    ),
    some_node(
        "three evicted nodes in a chain", "host-leaves, #19212, #27631", _evicted_chain_of_three
    ),
    some_node(
        "an evicted parent of two evicted children", "host-leaves, #19212", _two_evicted_children
    ),
    some_node(
        "a backed-up parent on the GPU of an evicted child",
        "host-leaves, #19212",
        lambda n: n.on_device and n.on_host and some_child(n, lambda c: not c.on_device),
    ),
    some_node("a parent of one child on the GPU and one evicted", "device-leaves", _mixed_children),
    some_node(
        "a parent without host copy above a backed-up child",
        "host-leaves, no-orphan",
        lambda n: not n.on_host and some_child(n, lambda c: c.on_host),
        Where(WRITE_BACK),
    ),
    state("the same first page in two namespaces", "namespace-isolation, #26747", _same_first_page),
    state(
        "two pages that part within the page",
        "lengths-agree, bytes",
        _differ_inside_a_page,
        Where(least_page_size=2),
    ),
    state("a full device", "failed-step-changes-nothing, conservation", _device_full),
    state("a full host", "failed-step-changes-nothing, conservation", _host_full),
    state(
        "a full device and a full host",
        "progress, failed-step-changes-nothing",
        lambda model: _device_full(model) and _host_full(model),
    ),
    state(
        "a full host with a load queued",
        "pinned-until-ack, #27631",
        lambda model: bool(model.queued_loads) and _host_full(model),
    ),
)
