"""Goals of load back: loads queued and in flight, refused, and in want of room."""

from __future__ import annotations

from hicache_model import operations as ops
from hicache_model.outcomes import Admitted, LoadedBack
from hicache_model.reference import STARTED_LOADS
from hicache_verify.goals.goal import WRITE_BACK, Goal, Where, some_node, state
from hicache_verify.goals.moment import LOADING, Moment

LOADS = (ops.LoadBack, ops.BeginRequest)


def _refused(moment: Moment) -> int:
    """The tokens that a LoadBack asked for and did not get."""
    op, outcome = moment.operation, moment.outcome
    assert isinstance(op, ops.LoadBack)
    assert isinstance(outcome, LoadedBack)
    if outcome.tokens:
        return 0
    path = moment.model.tree.whole_pages(op.namespace, op.tokens)
    return sum(shared for node, shared in moment.model.tree.peek(path) if not node.on_device)


def _refused_for_quota(moment: Moment) -> bool:
    quota = moment.operation.quota if isinstance(moment.operation, ops.LoadBack) else None
    asked = _refused(moment)
    return quota is not None and _enough(moment, asked) and quota < asked


def _refused_for_threshold(moment: Moment) -> bool:
    asked = _refused(moment)
    return asked > 0 and not _enough(moment, asked)


def _refused_for_room(moment: Moment) -> bool:
    asked = _refused(moment)
    unlimited = isinstance(moment.operation, ops.LoadBack) and moment.operation.quota is None
    return unlimited and asked > 0 and _enough(moment, asked)


def _enough(moment: Moment, asked: int) -> bool:
    return asked >= moment.model.configuration.load_back_threshold


def _admitted_without_its_load(moment: Moment) -> bool:
    outcome = moment.outcome
    return isinstance(outcome, Admitted) and not outcome.loaded_length and bool(moment.revived)


def _looked_up(moment: Moment) -> bool:
    return any(
        old.transfer in LOADING and node.last_access > old.last_access
        for node, old in moment.changed
    )


def _loads_below_a_load(moment: Moment) -> bool:
    before = moment.before.nodes
    parents = (before.get(node.parent) for node in moment.loaded if node.parent)
    return any(old is not None and old.transfer in LOADING for old in parents)


GOALS: tuple[Goal, ...] = (
    Goal(
        "a load of several nodes at once",
        "lengths-agree, bytes, #27631",
        lambda moment: len(moment.loaded) >= 2,
        by=LOADS,
    ),
    Goal(
        "a load below a node whose load is not acknowledged",
        "lock-balance, pinned-until-ack",
        _loads_below_a_load,
        by=LOADS,
    ),
    Goal(
        "several loads started as one transfer",
        "lock-balance, bytes",
        lambda moment: moment.before.queued_loads + bool(moment.loaded) >= 2,
        by=(ops.StartLoads, ops.BeginRequest),
    ),
    state(
        "a load queued behind one in flight",
        "pinned-until-ack",
        lambda model: bool(model.queued_loads and model.started_loads),
    ),
    state(
        "two loads in flight at once",
        "pinned-until-ack, lock-balance",
        lambda model: len(model.started_loads) >= 2,
    ),
    state(
        "as many loads in flight as there can be",
        "pinned-until-ack",
        lambda model: len(model.started_loads) == STARTED_LOADS,
    ),
    Goal(
        "a load acknowledged before another one in flight",
        "pinned-until-ack, lock-balance",
        lambda moment: bool(moment.model.started_loads),
        by=(ops.CompleteLoads,),
    ),
    Goal(
        "a lookup of a node whose load is queued or in flight",
        "bytes, pinned-until-ack",
        _looked_up,
    ),
    some_node(
        "a load queued or in flight from a pinned host copy",
        "lock-balance, pinned-until-ack, #27631",
        lambda n: n.transfer in LOADING and n.host_lock > 0,
    ),
    Goal(
        "a load that evicts from the device",
        "failed-step-changes-nothing, #27631",
        lambda moment: bool(moment.loaded) and moment.evicted_from_device,
        by=LOADS,
    ),
    Goal(
        "a load whose eviction evicts from the host too",
        "pinned-until-ack, bytes, #27631",
        lambda moment: bool(moment.loaded and moment.forgotten),
        Where(WRITE_BACK),
        LOADS,
    ),
    Goal(
        "a load refused for its quota",
        "failed-step-changes-nothing",
        _refused_for_quota,
        by=(ops.LoadBack,),
    ),
    Goal(
        "a load refused below the threshold",
        "failed-step-changes-nothing",
        _refused_for_threshold,
        by=(ops.LoadBack,),
    ),
    Goal(
        "a load refused for want of device room",
        "failed-step-changes-nothing, lock-balance",
        _refused_for_room,
        by=(ops.LoadBack,),
    ),
    Goal(
        "a request admitted without the load that it asked for",
        "failed-step-changes-nothing, single-owner",
        _admitted_without_its_load,
        by=(ops.BeginRequest,),
    ),
)
