"""Keys that are pairs of tokens: what they name, how they are shown, and what the model does."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hicache_model import operations as ops
from hicache_model import rules
from hicache_model.configuration import Configuration
from hicache_model.dialects import Dialect
from hicache_model.fields import MAX_COUNT
from hicache_model.fingerprint import fingerprints
from hicache_model.keys import keys_of, positions_of, tokens_of
from hicache_model.outcomes import Admitted, Inserted, Matched
from hicache_model.reference import Reference
from hicache_model.snapshot import Path

TOKENS = st.lists(st.integers(0, MAX_COUNT - 1), min_size=2, max_size=8).map(tuple)


@given(TOKENS)
def test_pairs_are_as_many_as_positions_with_a_next_token_and_tell_the_tokens(
    tokens: tuple[int, ...],
) -> None:
    pairs = keys_of(tokens, bigram=True)
    assert len(pairs) == len(tokens) - 1
    assert positions_of(pairs) == tokens[:-1]
    assert tokens_of(pairs) == tokens


@given(TOKENS, TOKENS)
def test_two_lists_share_a_pair_where_they_share_both_of_its_tokens(
    one: tuple[int, ...], other: tuple[int, ...]
) -> None:
    pairs = [keys_of(tokens, bigram=True) for tokens in (one, other)]
    for place, (mine, its) in enumerate(zip(*pairs, strict=False)):
        alike = one[place : place + 2] == other[place : place + 2]
        assert (mine == its) is alike


@given(TOKENS)
def test_tokens_are_their_own_keys(tokens: tuple[int, ...]) -> None:
    assert keys_of(tokens, bigram=False) is positions_of(tokens) is tokens_of(tokens) is tokens


def test_one_token_makes_no_pair() -> None:
    assert keys_of((7,), bigram=True) == ()
    assert tokens_of(()) == ()


def test_a_path_of_pairs_is_shown_in_tokens() -> None:
    assert str(Path("a", keys_of((1, 2, 3), bigram=True))) == "a:[1, 2, 3]"
    assert str(Path(None, ())) == "[]"


def test_the_kv_of_a_position_has_the_name_that_its_prefix_of_tokens_has() -> None:
    tokens = (0, 5, 5, 2)
    assert fingerprints("a", keys_of(tokens, bigram=True)) == fingerprints("a", tokens)[:-1]


def test_with_mamba_keys_are_tokens() -> None:
    with pytest.raises(ValueError, match=r"^with component mamba keys are tokens"):
        Configuration(component="mamba", bigram=True)


# -- the reference ---------------------------------------------------------------------------------


def model(**settings: Any) -> Reference:
    return Reference(Configuration(bigram=True, **settings), Dialect.of("0.5.18"))


def shown(reference: Reference) -> dict[str, int]:
    """The nodes, and how many positions each is long."""
    return {str(path): node.length for path, node in reference.tree.by_path.items()}


def test_a_tree_takes_all_but_the_last_token() -> None:
    reference = model()
    assert reference.apply(ops.Insert((1, 2, 3))) == Inserted(0)
    assert shown(reference) == {"[1, 2, 3]": 2}
    assert reference.device_free() == 6
    assert reference.apply(ops.Match((1, 2))) == Matched(1, 0)
    assert shown(reference) == {"[1, 2]": 1, "[1, 2, 3]": 1}


def test_nodes_part_where_one_token_more_is_another() -> None:
    reference = model()
    for tokens in ((1, 2, 3), (1, 2, 4), (2, 2)):
        reference.apply(ops.Insert(tokens))
    assert shown(reference) == {"[1, 2]": 1, "[1, 2, 3]": 1, "[1, 2, 4]": 1, "[2, 2]": 1}


def test_a_request_keeps_its_last_page_where_that_lacks_a_pair() -> None:
    reference = model(page_size=2)
    reference.apply(ops.BeginRequest(0, (1, 2, 3, 4), 4))
    running = reference.requests[0]
    assert (running.computed, running.protected) == (4, 2)
    reference.apply(ops.DecodeRequest(0, 5))
    reference.apply(ops.FinishRequest(0))
    assert shown(reference) == {"[1, 2, 3]": 2, "[1, 2, 3, 4, 5]": 2}
    assert reference.apply(ops.BeginRequest(1, (1, 2, 3, 4, 5, 6), 6)) == Admitted(4, 0)


def test_a_request_of_one_token_gives_the_tree_nothing() -> None:
    reference = model()
    assert reference.apply(ops.BeginRequest(0, (1,), 1)) == Admitted(0, 0)
    reference.apply(ops.FinishRequest(0))
    assert shown(reference) == {}
    assert reference.device_free() == 8


def test_a_lock_is_named_by_the_tokens_of_its_node() -> None:
    reference = model()
    reference.apply(ops.Insert((1, 2, 3)))
    reference.apply(ops.Lock((1, 2, 3)))
    assert rules.refusal(reference, ops.Unlock((1, 2))) is not None
    assert rules.refusal(reference, ops.Unlock((1, 2, 3))) is None
    reference.apply(ops.Unlock((1, 2, 3)))
    assert not reference.locks


@pytest.mark.parametrize(
    ("page_size", "tokens", "said"),
    [
        (1, (1,), "1 tokens make 0 pairs, less than one page of 1"),
        (2, (1, 2), "2 tokens make 1 pairs, less than one page of 2"),
    ],
)
def test_an_insert_without_a_key_is_refused_in_words(
    page_size: int, tokens: tuple[int, ...], said: str
) -> None:
    assert rules.refusal(model(page_size=page_size), ops.Insert(tokens)) == said
