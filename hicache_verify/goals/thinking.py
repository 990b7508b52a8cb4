"""Goals of requests that think, in servers that strip thoughts: what they leave at their end."""

from __future__ import annotations

from collections.abc import Callable

from hicache_model import operations as ops
from hicache_model.outcomes import Admitted
from hicache_verify.goals.goal import Goal, Test, Where
from hicache_verify.goals.moment import Asked, Moment
from hicache_verify.goals.requests import ran

STRIPPED = Where(strip_thinking=True)
STRIPPED_IN_PAGES = Where(least_page_size=2, strip_thinking=True)
ENDS = (ops.FinishRequest, ops.AbortRequest)


def _stripped(test: Callable[[Asked, Moment], bool]) -> Test:
    """Of the operation's request, if it was decoding and what it thought is stripped."""

    def holds(asked: Asked, moment: Moment) -> bool:
        stripped = moment.model.configuration.strip_thinking and not asked.prefilling
        return stripped and test(asked, moment)

    return ran(holds)


def _thoughts_go(asked: Asked, moment: Moment) -> bool:
    return asked.protected <= asked.asked_length < asked.computed


def _thoughts_stay(asked: Asked, moment: Moment) -> bool:
    return asked.asked_length < asked.protected


def _some_go_some_stay(asked: Asked, moment: Moment) -> bool:
    return asked.asked_length < asked.protected < asked.computed


def _cuts_a_page(asked: Asked, moment: Moment) -> bool:
    return _thoughts_go(asked, moment) and asked.asked_length % moment.model.page_size != 0


def _finds_its_thoughts(moment: Moment) -> bool:
    op, outcome = moment.operation, moment.outcome
    assert isinstance(op, ops.BeginRequest)
    if not isinstance(outcome, Admitted):
        return False
    return outcome.device_length + outcome.loaded_length > len(op.tokens) - op.outputs


GOALS: tuple[Goal, ...] = (
    Goal(
        "a request that leaves its prompt and nothing of its thoughts",
        "conservation, free-once",
        _stripped(_thoughts_go),
        STRIPPED,
        ENDS,
    ),
    Goal(
        "a prompt that ends inside a page with thoughts",
        "conservation, free-once, lengths-agree",
        _stripped(_cuts_a_page),
        STRIPPED_IN_PAGES,
        ENDS,
    ),
    Goal(
        "a request admitted again that finds its thoughts in the tree",
        "single-owner, lengths-agree",
        _finds_its_thoughts,
        STRIPPED,
        (ops.BeginRequest,),
    ),
    Goal(
        "a request that ends where the tree keeps its thoughts",
        "single-owner",
        _stripped(_thoughts_stay),
        STRIPPED,
        ENDS,
    ),
    Goal(
        "a request that ends where the tree keeps some of its thoughts",
        "single-owner, conservation",
        _stripped(_some_go_some_stay),
        STRIPPED,
        ENDS,
    ),
    Goal(
        "a request retracted where the tree keeps its thoughts",
        "single-owner",
        _stripped(_thoughts_stay),
        STRIPPED,
        (ops.RetractRequest,),
    ),
)
