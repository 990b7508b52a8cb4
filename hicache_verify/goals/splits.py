"""Goals of splits and inserts: what happens to a node that is cut or computed anew."""

from __future__ import annotations

from collections.abc import Callable

from hicache_model import operations as ops
from hicache_model.outcomes import Inserted
from hicache_model.tree import TreeNode
from hicache_verify.goals.goal import WRITE_THROUGH, Goal, Test, Where
from hicache_verify.goals.moment import LOADING, Facts, Moment


def _split_of(test: Callable[[TreeNode, Facts], bool]) -> Test:
    return lambda moment: any(test(node, old) for node, old in moment.split)


def _ends_inside_an_evicted_node(moment: Moment) -> bool:
    return any(
        not old.on_device and node.parent and node.parent.on_device and not node.on_device
        for node, old in moment.split
    )


def _goes_on_below_revived(moment: Moment) -> bool:
    return any(node.parent in moment.revived for node in moment.added)


def _wholly_cached(moment: Moment) -> bool:
    op, outcome = moment.operation, moment.outcome
    assert isinstance(op, ops.Insert)
    assert isinstance(outcome, Inserted)
    whole = moment.model.tree.whole_pages(op.namespace, op.tokens).tokens
    return outcome.prefix_length == len(whole)


INSERTS = (ops.Insert, ops.BeginRequest, ops.ExtendRequest, ops.FinishRequest, ops.AbortRequest)

GOALS: tuple[Goal, ...] = (
    Goal(
        "a split of an evicted node",
        "host-leaves, split-neutral",
        _split_of(lambda node, old: not old.on_device),
    ),
    Goal(
        "a split of a node with a write in flight",
        "split-neutral, lock-balance, #16946, #27072",
        _split_of(lambda node, old: old.transfer == "write"),
        Where(WRITE_THROUGH),
    ),
    Goal(
        "a split of a node with a load queued or in flight",
        "split-neutral, pinned-until-ack",
        _split_of(lambda node, old: old.transfer in LOADING),
    ),
    Goal(
        "a split of a node whose host copy is pinned",
        "lock-balance, split-neutral",
        _split_of(lambda node, old: old.host_lock > 0),
    ),
    Goal(
        "a split of a node locked twice",
        "lock-balance, split-neutral",
        _split_of(lambda node, old: old.lock_ref >= 2),
    ),
    Goal(
        "a split of a node with a priority",
        "split-neutral, policy-order",
        _split_of(lambda node, old: old.priority > 0),
    ),
    Goal(
        "a split by an insert that raises the priority",
        "policy-order",
        _split_of(lambda node, old: node.priority > old.priority),
        by=INSERTS,
    ),
    Goal(
        "an insert that ends inside an evicted node",
        "host-leaves, device-leaves, lengths-agree",
        _ends_inside_an_evicted_node,
        by=INSERTS,
    ),
    Goal(
        "an insert over an evicted node",
        "host-leaves, bytes, #32537",
        lambda moment: bool(moment.revived),
        by=INSERTS,
    ),
    Goal(
        "an insert over an evicted node that goes on below it",
        "host-leaves, device-prefix-closed, #31902",
        _goes_on_below_revived,
        by=INSERTS,
    ),
    Goal(
        "an insert of what is all on the device",
        "free-once, single-owner",
        _wholly_cached,
        by=(ops.Insert,),
    ),
)
