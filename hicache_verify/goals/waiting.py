"""Goals of requests that wait: what is refreshed for them meanwhile."""

from __future__ import annotations

from hicache_model import operations as ops
from hicache_verify.goals.goal import WRITE_THROUGH, Goal, Where
from hicache_verify.goals.moment import Moment

_TOUCHED = ("waiting_prefixes", "touched")
TOUCHED = Where(dialect=_TOUCHED, eviction_policy="lru")
TOUCHED_IN_WRITE = Where(WRITE_THROUGH, dialect=_TOUCHED, eviction_policy="lru")


def _spares_the_next_victim(moment: Moment) -> bool:
    """The least recently used device leaf was touched, and another one is left to go first."""
    leaves = moment.model.device_leaves() & moment.before.nodes.keys()
    if len(leaves) < 2:
        return False
    used = {leaf: moment.before.nodes[leaf].last_access for leaf in leaves}
    first = min(leaves, key=used.__getitem__)
    return first.last_access > used[first]


GOALS: tuple[Goal, ...] = (
    Goal(
        "a touched prefix that was next to be evicted",
        "policy-order",
        _spares_the_next_victim,
        TOUCHED,
        (ops.Touch,),
    ),
    Goal(
        "a touched prefix that ends inside a node",
        "split-neutral",
        lambda moment: bool(moment.split),
        TOUCHED,
        (ops.Touch,),
    ),
    Goal(
        "a touched prefix that ends inside a node with a write in flight",
        "split-neutral, lock-balance, #16946",
        lambda moment: any(old.transfer == "write" for _, old in moment.split),
        TOUCHED_IN_WRITE,
        (ops.Touch,),
    ),
    Goal(
        "a touched prefix that goes on on the host",
        "policy-order",
        lambda moment: any(not old.on_device for _, old in moment.changed),
        TOUCHED,
        (ops.Touch,),
    ),
)
