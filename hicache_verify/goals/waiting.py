"""Goals of requests that wait: what is refreshed for them, and what of them waits on the host."""

from __future__ import annotations

from hicache_model import operations as ops
from hicache_model.outcomes import Retracted
from hicache_verify.goals.goal import WRITE_THROUGH, Goal, Where
from hicache_verify.goals.moment import Moment, there_before

_TOUCHED = ("waiting_prefixes", "touched")
TOUCHED = Where(dialect=_TOUCHED, eviction_policy="lru")
TOUCHED_IN_WRITE = Where(WRITE_THROUGH, dialect=_TOUCHED, eviction_policy="lru")
SAVED = Where(dialect=("retracted_kv", "host_pool"), component="full")


def _is_saved(moment: Moment) -> bool:
    return isinstance(moment.outcome, Retracted) and moment.outcome.saved


def _evicts_from_host(moment: Moment) -> bool:
    spared = any(old.on_host and not node.on_host for node, old in moment.changed)
    return spared or any(old.on_host for _, old in moment.gone)


def _given_meanwhile(moment: Moment) -> bool:
    """The tree had something on the device of what waited on the host."""
    assert isinstance(moment.operation, ops.ResumeRequest)
    running = moment.model.requests.get(moment.operation.request)
    if running is None:
        return False
    return there_before(moment, moment.model.tree.whole_pages(running.namespace, running.tokens))


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
    Goal(
        "a retracted request that waits on the host",
        "bytes, conservation, lengths-agree",
        _is_saved,
        SAVED,
        (ops.RetractToHost,),
    ),
    Goal(
        "a retracted request that finds room on the host only by eviction",
        "single-owner, conservation",
        lambda moment: _is_saved(moment) and _evicts_from_host(moment),
        SAVED,
        (ops.RetractToHost,),
    ),
    Goal(
        "a retracted request that the host has no room for",
        "conservation, lock-balance",
        lambda moment: not _is_saved(moment),
        SAVED,
        (ops.RetractToHost,),
    ),
    Goal(
        "a host eviction while a retracted request waits there",
        "bytes, single-owner",
        lambda moment: bool(moment.model.retracted) and _evicts_from_host(moment),
        SAVED,
        (ops.EvictHost,),
    ),
    Goal(
        "a resumed request that finds room only by eviction",
        "progress, locked-stays",
        lambda moment: moment.evicted_from_device,
        SAVED,
        (ops.ResumeRequest,),
    ),
    Goal(
        "a resumed request whose KV the tree has by then",
        "single-owner, free-once",
        _given_meanwhile,
        SAVED,
        (ops.ResumeRequest,),
    ),
    Goal(
        "a resumed request over evicted nodes",
        "host-leaves, bytes",
        lambda moment: bool(moment.revived),
        SAVED,
        (ops.ResumeRequest,),
    ),
    Goal(
        "a resumed request whose prompt ends inside what it gives",
        "policy-order, split-neutral",
        lambda moment: any(node.priority > 0 for node in moment.added),
        SAVED,
        (ops.ResumeRequest,),
    ),
    Goal(
        "an abort of a request that waits on the host",
        "conservation",
        lambda moment: len(moment.model.requests) == len(moment.before.requests),
        SAVED,
        (ops.AbortRequest,),
    ),
)
