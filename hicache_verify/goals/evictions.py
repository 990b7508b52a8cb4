"""Goals of eviction, from device and host: choice, order, and what stands in the way."""

from __future__ import annotations

from hicache_model import operations as ops
from hicache_model.outcomes import Evicted
from hicache_model.tree import TreeNode
from hicache_verify.goals.goal import WRITE_BACK, WRITE_THROUGH, Goal, Where
from hicache_verify.goals.moment import Facts, Moment

DROPS = ("victim_without_host_room", "drop")
SKIPS = ("victim_without_host_room", "skip")
BACK_DROPS = Where(WRITE_BACK, dialect=DROPS)
COPIES_FIRST = Where(WRITE_BACK, dialect=("host_pressure", "duplicates_first"))
PINNED_LEAVES = Where(dialect=("host_leaf", "no_backed_up_child"))
"""Elsewhere what is pinned is no leaf."""


def _with_parents(nodes: list[tuple[TreeNode, Facts]]) -> bool:
    taken = {node for node, _ in nodes}
    return any(node.parent in taken for node in taken)


def _freed(moment: Moment) -> int:
    assert isinstance(moment.outcome, Evicted)
    return moment.outcome.tokens


def _short(moment: Moment) -> bool:
    """An eviction that freed less than it was asked for."""
    return isinstance(moment.operation, ops.EvictDevice) and (
        _freed(moment) < moment.operation.count
    )


def _leaves_left(moment: Moment) -> bool:
    return moment.evicted_from_device and not moment.before.nodes.keys().isdisjoint(
        moment.model.device_leaves()
    )


def _everything_locked(moment: Moment) -> bool:
    there = [old for old in moment.before.nodes.values() if old.on_device]
    return bool(there) and all(old.lock_ref > 0 for old in there)


def _writes_back_one_of_two(moment: Moment) -> bool:
    return len({old.on_host for _, old in moment.demoted}) == 2


def _writes_back_evicting_host(moment: Moment) -> bool:
    return bool(moment.forgotten) and any(not old.on_host for _, old in moment.demoted)


def _demotes_and_drops(moment: Moment) -> bool:
    return bool(moment.demoted and moment.dropped)


def _pinned_below_victim(moment: Moment) -> bool:
    return _short(moment) and any(
        not leaf.on_host and any(n.host_lock for n in moment.model.tree.subtree(leaf))
        for leaf in moment.model.device_leaves()
    )


def _passed_over(moment: Moment) -> bool:
    return _short(moment) and any(not leaf.on_host for leaf in moment.model.device_leaves())


def _host_leaves(moment: Moment) -> list[TreeNode]:
    """Host leaves of now that were leaves before."""
    return [node for node in moment.model.host_leaves() if node in moment.before.nodes]


def _under_the_gpu(moment: Moment) -> bool:
    root = moment.model.tree.root
    parents = [node.parent for node, _ in moment.gone if node.parent is not root]
    return any(parent is not None and parent.on_device for parent in parents)


def _around_a_pin(moment: Moment) -> bool:
    return bool(moment.gone) and any(leaf.host_lock for leaf in _host_leaves(moment))


def _only_pins(moment: Moment) -> bool:
    return not moment.gone and bool(_host_leaves(moment))


def _copies_taken(moment: Moment) -> bool:
    """Nodes on the GPU lost their host copy."""
    return any(
        old.on_device and old.on_host and node.on_device and not node.on_host
        for node, old in moment.changed
    )


def _copies_left(moment: Moment) -> list[TreeNode]:
    """Nodes of before, on the GPU, whose host copy could be taken next."""
    nodes = moment.before.nodes.keys() & set(moment.model.tree.by_path.values())
    return [n for n in nodes if n.on_device and n.on_host and not (n.transfer or n.host_lock)]


def _a_leaf_spared(moment: Moment) -> bool:
    leaves = moment.model.device_leaves()
    return _copies_taken(moment) and any(node in leaves for node in _copies_left(moment))


def _only_on_gpu(moment: Moment) -> bool:
    return not moment.gone and not _host_leaves(moment)


GOALS: tuple[Goal, ...] = (
    Goal(
        "an eviction that stops with leaves left",
        "policy-order, progress, #4987",
        _leaves_left,
    ),
    Goal(
        "an eviction that takes a node and then its parent",
        "host-leaves, device-leaves, #19212",
        lambda moment: _with_parents(moment.demoted),
    ),
    Goal(
        "an eviction of everything under a locked node",
        "locked-stays, device-leaves",
        lambda moment: any(n.parent and n.parent.lock_ref > 0 for n, _ in moment.demoted),
    ),
    Goal(
        "an eviction that finds everything locked",
        "locked-stays, progress",
        _everything_locked,
        by=(ops.EvictDevice,),
    ),
    Goal(
        "an eviction while a write is in flight",
        "pinned-until-ack, single-owner, #27631",
        lambda moment: moment.evicted_from_device and bool(moment.before.writes),
        Where(WRITE_THROUGH),
    ),
    Goal(
        "an eviction while a load is queued",
        "pinned-until-ack, bytes, #27631",
        lambda moment: moment.evicted_from_device and moment.before.queued_loads > 0,
    ),
    Goal(
        "an eviction while a load is in flight",
        "pinned-until-ack, bytes, #27631",
        lambda moment: moment.evicted_from_device and moment.before.started_loads > 0,
    ),
    Goal(
        "an eviction that writes back one node and finds one backed up",
        "host-leaves, free-once, #19212",
        _writes_back_one_of_two,
        Where(WRITE_BACK),
    ),
    Goal(
        "an eviction whose write-back evicts from the host",
        "pinned-until-ack, free-once, #27631",
        _writes_back_evicting_host,
        Where(WRITE_BACK),
    ),
    Goal(
        "an eviction that drops a node without host copy",
        "conservation, no-orphan",
        lambda moment: bool(moment.dropped) and not moment.model.write_back,
        Where(WRITE_THROUGH),
    ),
    Goal(
        "an eviction that drops a node for want of host room",
        "conservation, failed-step-changes-nothing, #27108",
        lambda moment: bool(moment.dropped) and moment.model.write_back,
        BACK_DROPS,
    ),
    Goal(
        "an eviction that demotes one node and drops another",
        "conservation, lock-balance",
        lambda moment: _demotes_and_drops(moment) and not moment.model.write_back,
        Where(WRITE_THROUGH),
    ),
    Goal(
        "an eviction that writes back one node and drops another",
        "conservation, lock-balance, #27108",
        lambda moment: _demotes_and_drops(moment) and moment.model.write_back,
        BACK_DROPS,
    ),
    Goal(
        "an eviction stopped by a pinned host copy below",
        "locked-stays, progress",
        _pinned_below_victim,
        Where(WRITE_BACK),
        (ops.EvictDevice,),
    ),
    Goal(
        "an eviction that passes over a node for want of host room",
        "failed-step-changes-nothing",
        _passed_over,
        Where(WRITE_BACK, dialect=SKIPS),
        (ops.EvictDevice,),
    ),
    Goal(
        "a host eviction that stops with leaves left",
        "policy-order, progress, #4987",
        lambda moment: bool(moment.gone) and any(not n.host_lock for n in _host_leaves(moment)),
        by=(ops.EvictHost,),
    ),
    Goal(
        "a host eviction that takes a node and then its parent",
        "no-orphan, host-leaves, #19212",
        lambda moment: _with_parents(moment.gone),
        by=(ops.EvictHost,),
    ),
    Goal(
        "a host eviction of what lies under a node on the GPU",
        "device-leaves, host-leaves",
        lambda moment: any(
            n.parent and n.parent.on_device and n.parent.length for n, _ in moment.gone
        ),
        by=(ops.EvictHost,),
    ),
    Goal(
        "a host eviction that goes around a pinned leaf",
        "locked-stays, lock-balance",
        _around_a_pin,
        PINNED_LEAVES,
        by=(ops.EvictHost,),
    ),
    Goal(
        "a host eviction that finds only pinned leaves",
        "locked-stays, progress, #4987",
        _only_pins,
        PINNED_LEAVES,
        by=(ops.EvictHost,),
    ),
    Goal(
        "a host eviction that finds nothing evicted",
        "progress, free-once",
        _only_on_gpu,
        by=(ops.EvictHost,),
    ),
    Goal(
        "a host eviction that takes a copy of what is on the GPU",
        "free-once, conservation",
        _copies_taken,
        COPIES_FIRST,
        (ops.EvictHost,),
    ),
    Goal(
        "a host eviction that takes one copy of what is on the GPU and leaves another",
        "progress, policy-order",
        lambda moment: _copies_taken(moment) and bool(_copies_left(moment)),
        COPIES_FIRST,
        (ops.EvictHost,),
    ),
    Goal(
        "a host eviction that spares the copy of a device leaf for another",
        "policy-order",
        _a_leaf_spared,
        COPIES_FIRST,
        (ops.EvictHost,),
    ),
    Goal(
        "a host eviction while a load is queued or in flight",
        "pinned-until-ack, bytes, #27631",
        lambda moment: bool(
            moment.forgotten and (moment.before.queued_loads or moment.before.started_loads)
        ),
    ),
)
