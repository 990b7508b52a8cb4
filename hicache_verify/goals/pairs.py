"""Goals of keys that are pairs of tokens: what shares a token and no pair, and what has no pair."""

from __future__ import annotations

from collections import Counter

from hicache_model import operations as ops
from hicache_model.keys import positions_of
from hicache_model.reference import Reference
from hicache_verify.goals.goal import Goal, Where, state
from hicache_verify.goals.moment import Asked, Moment
from hicache_verify.goals.requests import ENDS, ran

PAIRS = Where(bigram=True)


def _differ_in_the_last_token(model: Reference) -> bool:
    for node in (model.tree.root, *model.tree.by_path.values()):
        pages = Counter((namespace, positions_of(page)) for namespace, page in node.children)
        if any(count > 1 for count in pages.values()):
            return True
    return False


def _parts_within_a_pair(moment: Moment) -> bool:
    """A node is cut where its next pair begins with the token that is asked for."""
    op = moment.operation
    assert isinstance(op, (ops.Match, ops.BeginRequest))
    asked = moment.model.tree.whole_pages(op.namespace, op.tokens).tokens
    for node, _ in moment.split:
        both = zip(node.path.tokens[node.start :], asked[node.start :], strict=False)
        parted = next((pair for pair in both if pair[0] != pair[1]), None)
        if parted is not None and positions_of(parted[:1]) == positions_of(parted[1:]):
            return True
    return False


def _one_token(moment: Moment) -> bool:
    op = moment.operation
    assert isinstance(op, ops.BeginRequest)
    return moment.model.tree.bigram and len(op.tokens) == 1


def _all_but_the_last_pair(asked: Asked, moment: Moment) -> bool:
    model = moment.model
    if not (model.tree.bigram and model.page_size > 1):
        return False
    return 0 < asked.computed == model.pages(asked.computed)


GOALS: tuple[Goal, ...] = (
    state(
        "two pages that differ in nothing but the token after them",
        "longest-prefix, lengths-agree, #10846",
        _differ_in_the_last_token,
        PAIRS,
    ),
    Goal(
        "a lookup that parts from a node within a pair",
        "longest-prefix, #10846",
        _parts_within_a_pair,
        PAIRS,
        (ops.Match, ops.BeginRequest),
    ),
    Goal(
        "a request of one token, which makes no pair",
        "conservation, lengths-agree, #24371",
        _one_token,
        PAIRS,
        (ops.BeginRequest,),
    ),
    Goal(
        "a request that ends with a page that lacks its last pair alone",
        "conservation, free-once, #34870",
        ran(_all_but_the_last_pair),
        Where(least_page_size=2, bigram=True),
        ENDS,
    ),
)
