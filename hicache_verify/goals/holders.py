"""Goals of locks, pins and reset: several holders of one node, and a cache that starts anew."""

from __future__ import annotations

from hicache_model import operations as ops
from hicache_verify.goals.goal import Goal, some_child, some_node
from hicache_verify.goals.moment import Moment


def _still_locked(moment: Moment) -> bool:
    op = moment.operation
    assert isinstance(op, ops.Unlock)
    return moment.model.tree.named(op.namespace, op.tokens) in moment.model.locks


def _still_pinned(moment: Moment) -> bool:
    op = moment.operation
    assert isinstance(op, ops.UnlockHost)
    return moment.model.tree.named(op.namespace, op.tokens) in moment.model.pinned_nodes()


def _both_tiers(moment: Moment) -> bool:
    nodes = moment.before.nodes.values()
    return any(old.on_device for old in nodes) and any(not old.on_device for old in nodes)


GOALS: tuple[Goal, ...] = (
    some_node("a node locked twice", "lock-balance", lambda n: n.lock_ref >= 2),
    Goal(
        "one of two locks on a node released",
        "lock-balance, locked-stays",
        _still_locked,
        by=(ops.Unlock,),
    ),
    Goal(
        "one of two pins on a host copy released",
        "lock-balance, locked-stays",
        _still_pinned,
        by=(ops.UnlockHost,),
    ),
    some_node(
        "a pinned host copy below a node on the GPU",
        "locked-stays, progress",
        lambda n: n.on_device and some_child(n, lambda c: c.host_lock > 0),
    ),
    some_node(
        "a host copy pinned and its node locked",
        "lock-balance, locked-stays",
        lambda n: n.host_lock > 0 and n.lock_ref > 0,
    ),
    Goal(
        "a reset of a cache with nodes in both tiers",
        "reset-is-new, #23216",
        _both_tiers,
        by=(ops.Reset,),
    ),
)
