"""Goals of backups: writes in flight, and backups that are refused, late or short of room."""

from __future__ import annotations

from hicache_model import operations as ops
from hicache_model.tree import TreeNode
from hicache_verify.goals.goal import WRITE_THROUGH, Goal, Where, some_node
from hicache_verify.goals.moment import Moment

THROUGH = Where(WRITE_THROUGH)


def _due(moment: Moment) -> list[TreeNode]:
    """Nodes that were used now, have the hits for a backup, and have none."""
    threshold = moment.model.configuration.write_through_threshold
    used = (*moment.hit, *(node for node in moment.added if node.hit_count))
    return [node for node in used if node.hit_count >= threshold and not node.on_host]


def _refused_below_parent(moment: Moment) -> bool:
    return any(node.parent and not node.parent.on_host for node in _due(moment))


def _refused_for_room(moment: Moment) -> bool:
    return any(node.parent and node.parent.on_host for node in _due(moment))


def _newly_written(moment: Moment) -> bool:
    return len(moment.model.unfinished_writes()) > len(moment.before.writes)


def _written_later(moment: Moment) -> bool:
    return any(n.transfer == "write" and not old.on_host for n, old in moment.changed)


def _acknowledged_after_split(moment: Moment) -> bool:
    """A node with a write in flight that is not the one that was written is an upper half."""
    written = moment.before.writes
    return any(
        old.transfer == "write" and not node.transfer and node not in written
        for node, old in moment.changed
    )


def _acknowledged(moment: Moment) -> int:
    return len(moment.before.writes) - len(moment.model.unfinished_writes())


GOALS: tuple[Goal, ...] = (
    Goal(
        "a hit on a node whose write is in flight",
        "free-once, pinned-until-ack",
        lambda moment: any(
            node.hit_count > old.hit_count and old.transfer == "write"
            for node, old in moment.changed
        ),
        THROUGH,
    ),
    some_node(
        "a write in flight below another one",
        "lock-balance, backup-prefix-closed",
        lambda n: bool(n.transfer == "write" and n.parent and n.parent.transfer == "write"),
        THROUGH,
    ),
    Goal(
        "a write acknowledged after its node was split",
        "split-neutral, lock-balance, #16946, #27072",
        _acknowledged_after_split,
        THROUGH,
        (ops.CompleteWrites,),
    ),
    Goal(
        "one of several writes acknowledged",
        "pinned-until-ack, lock-balance",
        lambda moment: bool(moment.model.unfinished_writes()),
        THROUGH,
        (ops.CompleteWrites,),
    ),
    Goal(
        "several writes acknowledged at once",
        "lock-balance",
        lambda moment: _acknowledged(moment) >= 2,
        THROUGH,
        (ops.CompleteWrites,),
    ),
    Goal(
        "a backup refused because the parent has none",
        "backup-prefix-closed, no-orphan",
        _refused_below_parent,
        Where(WRITE_THROUGH, dialect=("backup_of_orphan", "refused")),
    ),
    Goal(
        "a backup refused for want of host room",
        "failed-step-changes-nothing, #27108",
        _refused_for_room,
        THROUGH,
    ),
    Goal(
        "a backup that evicts from the host",
        "free-once, pinned-until-ack, #27631",
        lambda moment: bool(moment.forgotten) and _newly_written(moment),
        THROUGH,
    ),
    Goal(
        "a backup at a later use than the first possible",
        "backup-prefix-closed, #39444",
        _written_later,
        THROUGH,
    ),
)
