"""Goals of what happens to a transfer between its decision and its acknowledgement.

A transfer is queued until it is started and open until it is acknowledged. In either state its
nodes may be split and used again, both tiers may be short of room, and requests may go away.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from hicache_model import operations as ops
from hicache_model.tree import TreeNode
from hicache_verify.goals.goal import EVERYWHERE, WRITE_THROUGH, Goal, Test, Where
from hicache_verify.goals.moment import Before, Facts, Moment

#: A transfer's state: whether there is one before an operation, and where there can be.
STATES: Mapping[str, tuple[Callable[[Before], bool], Where]] = {
    "write is queued": (
        lambda before: bool(before.queued_writes),
        Where(WRITE_THROUGH, dialect=("writes_start", "queued")),
    ),
    "write is open": (
        lambda before: len(before.writes) > len(before.queued_writes),
        Where(WRITE_THROUGH),
    ),
    "load is queued": (lambda before: before.queued_loads > 0, EVERYWHERE),
    "load is open": (lambda before: before.started_loads > 0, EVERYWHERE),
}


def _of(state: str, before: Before, node: TreeNode, old: Facts) -> bool:
    """Whether this node is one of such a transfer; the upper half of a split is as the lower."""
    if old.transfer == "write":
        return state == ("write is queued" if node in before.queued_writes else "write is open")
    return state == {"queued load": "load is queued", "load": "load is open"}.get(
        old.transfer or ""
    )


def _split(state: str) -> Test:
    return lambda moment: any(_of(state, moment.before, n, old) for n, old in moment.split)


def _used_again(state: str) -> Test:
    return lambda moment: any(
        node.last_access > old.last_access and _of(state, moment.before, node, old)
        for node, old in moment.changed
    )


def _while(state: str, happens: Test) -> Test:
    there, _ = STATES[state]
    return lambda moment: there(moment.before) and happens(moment)


def _goals() -> Iterator[Goal]:
    keeps = "pinned-until-ack, lock-balance"
    for state, (_, where) in STATES.items():
        aborts, retracts = (ops.AbortRequest,), (ops.RetractRequest,)
        yield Goal(
            f"a split of a node whose {state}", "split-neutral, " + keeps, _split(state), where
        )
        yield Goal(
            f"a second use of a node whose {state}", "bytes, " + keeps, _used_again(state), where
        )
        yield Goal(
            f"an eviction from the device while a {state}",
            "bytes, #27631, " + keeps,
            _while(state, lambda moment: moment.evicted_from_device),
            where,
        )
        yield Goal(
            f"an eviction from the host while a {state}",
            "bytes, #27631, " + keeps,
            _while(state, lambda moment: bool(moment.forgotten)),
            where,
        )
        yield Goal(
            f"a request aborted while a {state}", keeps, _while(state, _always), where, aborts
        )
        yield Goal(
            f"a request retracted while a {state}", keeps, _while(state, _always), where, retracts
        )


def _always(moment: Moment) -> bool:
    return True


GOALS: tuple[Goal, ...] = tuple(_goals())
