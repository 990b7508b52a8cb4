"""The engine with keys of pairs: what it draws, explores, writes down, shows and makes simpler."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from random import Random

import pytest

from hicache_impl.native.target import NativeFactory
from hicache_impl.target import Description
from hicache_model import operations as ops
from hicache_model.configuration import Configuration
from hicache_model.dialects import Dialect
from hicache_model.keys import keys_of, tokens_of
from hicache_model.reference import Reference
from hicache_model.snapshot import Path as NodePath
from hicache_verify import trace as traces
from hicache_verify.campaigns.cells import BadCell, Cell, Selection
from hicache_verify.campaigns.seeds import derive
from hicache_verify.exploration.alphabet import alphabet
from hicache_verify.exploration.bound import Bound
from hicache_verify.lockstep import Lockstep
from hicache_verify.menu import RandomChooser
from hicache_verify.report.drawing import draw
from hicache_verify.report.words import configuration_text, path_text, tokens_text
from hicache_verify.simpler.configurations import simpler_configuration
from hicache_verify.sources.examples import draw_plan
from hicache_verify.targets import BadTarget, refuse_unknown
from hicache_verify.trace import Trace
from tests.processes import command

PAIRS = Configuration(bigram=True)
FOUR = Trace(
    PAIRS.with_(device_slots=2, host_slots=3, copies="early"),
    "sglang",
    "0.5.10.post1",
    (
        ops.Insert((1, 2)),
        ops.EvictDevice(1),
        ops.Insert((1, 2, 3)),
        ops.EvictDevice(2),
    ),
)
"""#19212, where a node needs a token more."""


# -- traces ----------------------------------------------------------------------------------------


def test_a_trace_says_that_keys_are_pairs_and_an_old_one_has_keys_of_tokens() -> None:
    text = traces.dumps(FOUR)
    assert '"bigram": true' in text
    assert traces.loads(text) == FOUR
    assert traces.loads(text.replace(', "bigram": true', "")).configuration.bigram is False


def test_a_trace_is_replayed_and_minimized_to_keys_of_tokens(tmp_path: Path) -> None:
    file, shorter = tmp_path / "four.jsonl", tmp_path / "shorter.jsonl"
    traces.write(file, FOUR)
    replayed = command("replay", str(file))
    assert replayed.code == 1
    assert "node [1, 2] is in evictable_host_leaves, but its child [1, 2, 3] is" in replayed.out
    assert "keys of pairs" in replayed.out
    assert command("replay", str(file), "--release", "0.5.18").code == 0
    assert command("minimize", str(file), "--out", str(shorter)).code == 0
    assert traces.read(shorter).operations == (
        ops.Insert((1,)),
        ops.EvictDevice(1),
        ops.Insert((1, 2)),
        ops.EvictDevice(2),
    )


def test_keys_of_tokens_are_simpler() -> None:
    as_many_keys, as_many_tokens, *_ = simpler_configuration(FOUR)
    assert as_many_keys.operations[::2] == (ops.Insert((1,)), ops.Insert((1, 2)))
    assert as_many_tokens.operations == FOUR.operations
    for simpler in (as_many_keys, as_many_tokens):
        assert simpler.configuration == FOUR.configuration.with_(bigram=False)


# -- cells and targets -----------------------------------------------------------------------------


def test_a_cell_says_so_and_has_seeds_of_its_own() -> None:
    plain, pairs = Cell("write_back", 1, "lru"), Cell("write_back", 1, "lru", bigram=True)
    assert str(pairs) == f"{plain}, keys of pairs"
    assert derive(0, plain, "random", 0) != derive(0, pairs, "random", 0)
    (cell,) = Selection(bigram=True).expand(NativeFactory().description)
    assert cell == pairs


def test_mamba_has_keys_of_tokens() -> None:
    with pytest.raises(BadCell, match="leave out --bigram"):
        Selection(component="mamba", bigram=True)


def test_a_trace_with_pairs_is_not_run_where_they_are_not_known() -> None:
    of_tokens = Description("mine", "1", "", ("lru",), strips_thinking=True)
    with pytest.raises(BadTarget, match=r"^mine 1 cannot be run with keys of pairs$"):
        refuse_unknown(of_tokens, PAIRS)


# -- operations ------------------------------------------------------------------------------------


def test_what_is_drawn_meets_what_is_cached_and_parts_from_it_in_the_last_token() -> None:
    """Lookups: as long as a node, shorter, and with another end or none for its last pair."""
    cell, found = Cell("write_back", 1, "lru", bigram=True), Counter[str]()
    for number in range(60):
        chooser = RandomChooser(Random(f"pairs/{number}"))
        plan = draw_plan(cell, NativeFactory().description, chooser)
        model = Reference(plan.configuration, Dialect.of("0.5.18"))
        menu = plan.menu(model)
        for _ in range(plan.length):
            known = {tokens_of(path.tokens) for path in model.tree.by_path}
            operation = menu.draw(chooser)
            if operation is None:
                continue
            if isinstance(operation, (ops.Match, ops.Insert)):
                tokens = operation.tokens
                found["equal"] += tokens in known
                found["without an end"] += any(tokens == node[:-1] for node in known)
                found["another end"] += any(
                    tokens[:-1] == node[:-1] and tokens != node for node in known
                )
            model.apply(operation)
    assert all(found[name] > 20 for name in ("equal", "without an end", "another end")), found


def test_an_exploration_has_lists_with_a_token_more_for_the_last_pair() -> None:
    model = Reference(PAIRS.with_(device_slots=2, host_slots=3), Dialect.of("0.5.18"))
    bound = Bound(depth=1, tokens=2, extras=("locks",))
    first = [op.tokens for op in alphabet(model, bound, ()) if isinstance(op, ops.Insert)]
    assert first == [(1, 1), (1, 2), (1, 1, 1), (1, 1, 2), (1, 2, 1), (1, 2, 2)]
    model.apply(ops.Insert((1, 2)))
    model.apply(ops.Lock((1, 2)))
    later = [*alphabet(model, bound, (ops.Insert((1, 2)),))]
    assert ops.Lock((1, 2)) in later
    assert ops.Unlock((1, 2)) in later


def test_an_exploration_says_so(tmp_path: Path) -> None:
    asked = ("--target", "native", "--bigram", "--depth", "2", "--workers", "1", "--json")
    child = command("explore", *asked, folder=tmp_path)
    assert child.code == 0, child.err
    assert "write_back, lru, keys of pairs (insert" in child.json["sentence"]


# -- reports ---------------------------------------------------------------------------------------


def test_paths_and_edges_are_shown_in_tokens() -> None:
    assert path_text(NodePath("a", keys_of((1, 2, 3), bigram=True))) == "a:[1, 2, 3]"
    assert tokens_text(keys_of(tuple(range(100)), bigram=True)).endswith("98, 99]")
    assert "page size 1, keys of pairs" in configuration_text(PAIRS).replace(
        "GPU 8 slots, host 12 slots, ", ""
    )


def test_the_tree_is_drawn_with_the_tokens_of_each_edge() -> None:
    lockstep = Lockstep(NativeFactory(), PAIRS, exact=True)
    for operation in (ops.Insert((1, 2, 3)), ops.Insert((1, 2, 4))):
        assert lockstep.step(operation) is None
    lines = [" ".join(line.split()).partition(" G ")[0] for _, line in draw(lockstep.actual)]
    assert lines == ["└─ [1, 2]", "├─ [2, 3]", "└─ [2, 4]"]
