"""Goals of requests: shared prefixes, chunks, pages, and requests that end before their time."""

from __future__ import annotations

from collections.abc import Callable

from hicache_model import operations as ops
from hicache_model.outcomes import Admitted
from hicache_model.reference import Reference
from hicache_model.tree import TreeNode
from hicache_verify.goals.goal import Goal, Test, Where, some_node, state
from hicache_verify.goals.moment import LOADING, Asked, Moment, there_before

PAGED = Where(least_page_size=2)
ENDS = (ops.FinishRequest, ops.AbortRequest, ops.RetractRequest, ops.RetractToHost)


def _number(moment: Moment) -> int:
    """Of the operation's request; asked by goals of operations that have one, and by no other."""
    number: int = moment.operation.request  # type: ignore[union-attr]
    return number


def _asked(moment: Moment) -> Asked:
    """The request of the operation, as it was before."""
    return moment.before.requests[_number(moment)]


def ran(test: Callable[[Asked, Moment], bool]) -> Test:
    """Of the operation's request, if it did not wait on the host."""

    def holds(moment: Moment) -> bool:
        asked = moment.before.requests.get(_number(moment))
        return asked is not None and test(asked, moment)

    return holds


def _shared(node: TreeNode) -> bool:
    return node.lock_ref >= 2 and sum(1 for c in node.children.values() if c.lock_ref) >= 2


def _same_anchor(model: Reference) -> bool:
    anchors = [r.anchor for r in model.requests.values() if r.anchor is not model.tree.root]
    return len(anchors) > len(set(anchors))


def _both_tiers(moment: Moment) -> bool:
    outcome = moment.outcome
    return isinstance(outcome, Admitted) and bool(outcome.device_length and outcome.loaded_length)


def _last_page_alone(moment: Moment) -> bool:
    op, outcome = moment.operation, moment.outcome
    assert isinstance(op, ops.BeginRequest)
    if not isinstance(outcome, Admitted):
        return False
    cached = outcome.device_length + outcome.loaded_length
    return 0 < cached == len(moment.model.tree.whole_pages(None, op.tokens[:-1]).tokens)


def _given_meanwhile(moment: Moment) -> bool:
    """Nodes that somebody else gave since lie on what the request computed by itself."""
    asked = _asked(moment)
    path = moment.model.tree.whole_pages(asked.namespace, asked.tokens[: asked.computed])
    return there_before(moment, path, beyond=asked.protected)


def _third_chunk_to_come(moment: Moment) -> bool:
    return moment.after.requests[_number(moment)].prefilling


def _within_a_page(moment: Moment) -> bool:
    op = moment.operation
    assert isinstance(op, ops.BeginRequest)
    return len(op.tokens) < moment.model.page_size


def _opens_a_page(moment: Moment) -> bool:
    return moment.model.page_size > 1 and _asked(moment).computed % moment.model.page_size == 0


def _load_in_flight(asked: Asked, moment: Moment) -> bool:
    old = None if asked.anchor is None else moment.before.nodes.get(asked.anchor)
    return old is not None and old.transfer in LOADING


GOALS: tuple[Goal, ...] = (
    some_node("two requests that share a locked prefix", "lock-balance, locked-stays", _shared),
    state("two requests that lock the same node", "lock-balance", _same_anchor),
    Goal(
        "a request that begins on both tiers",
        "bytes, lengths-agree",
        _both_tiers,
        by=(ops.BeginRequest,),
    ),
    Goal(
        "a request that has only its last page to compute",
        "lengths-agree, free-once",
        _last_page_alone,
        by=(ops.BeginRequest,),
    ),
    Goal(
        "a request shorter than a page",
        "conservation, lengths-agree",
        _within_a_page,
        PAGED,
        (ops.BeginRequest,),
    ),
    Goal(
        "a request that finds room only by eviction",
        "progress, locked-stays",
        lambda moment: moment.evicted_from_device,
        by=(ops.BeginRequest,),
    ),
    Goal(
        "a prompt in three chunks or more",
        "lock-balance, single-owner, #39444",
        _third_chunk_to_come,
        by=(ops.ExtendRequest,),
    ),
    Goal(
        "a chunk that finds room only by eviction",
        "locked-stays, progress",
        lambda moment: moment.evicted_from_device,
        by=(ops.ExtendRequest,),
    ),
    Goal(
        "a decoded token that finds room only by eviction",
        "locked-stays, progress",
        lambda moment: moment.evicted_from_device,
        by=(ops.DecodeRequest,),
    ),
    Goal(
        "a decoded token that opens a page",
        "conservation, lengths-agree",
        _opens_a_page,
        PAGED,
        (ops.DecodeRequest,),
    ),
    Goal(
        "a request that ends within a page",
        "conservation, free-once, #34067",
        ran(lambda asked, moment: asked.computed % moment.model.page_size != 0),
        PAGED,
        ENDS,
    ),
    Goal(
        "a request whose KV another one gave first",
        "single-owner, free-once, #34067",
        _given_meanwhile,
        by=(ops.ExtendRequest, ops.FinishRequest),
    ),
    Goal(
        "a request aborted between two chunks",
        "conservation, lock-balance",
        ran(lambda asked, moment: asked.prefilling),
        Where(dialect=("abort_in_prefill", "releases")),
        (ops.AbortRequest,),
    ),
    Goal(
        "a request aborted while it decodes",
        "conservation",
        ran(lambda asked, moment: not asked.prefilling),
        by=(ops.AbortRequest,),
    ),
    Goal(
        "a request retracted between two chunks",
        "conservation, lock-balance",
        ran(lambda asked, moment: asked.prefilling),
        by=(ops.RetractRequest,),
    ),
    Goal(
        "a request retracted while it decodes",
        "conservation, lock-balance",
        ran(lambda asked, moment: not asked.prefilling),
        by=(ops.RetractRequest,),
    ),
    Goal(
        "a request that ends while its load is in flight",
        "pinned-until-ack, lock-balance, #27631",
        ran(_load_in_flight),
        by=ENDS,
    ),
)
