"""What the bank promises: a bug for every law, each found under its law, soon, and shown shortly.

``MEAN`` is how many operations the random source took on average over 20 seeds or 40 (``python -m
tests.bugs.measure 20``). Every example begins anew, so the operations until a find are nearly
exponential, and ``FACTOR`` times the mean is too little once in e^30 seeds: as good as never, and
still never where a change of the menu's weights makes a bug three times as rare.
"""

from __future__ import annotations

import attrs
import pytest

from hicache_impl.bugs import BANK, Bug, UnknownBug, find, quick_under
from hicache_impl.native.parts import Kinds
from hicache_impl.native.target import NativeFactory
from hicache_impl.native.tree import TreeNode
from hicache_impl.native.upkeep import Upkeep
from hicache_model.configuration import EVICTION_POLICIES, WRITE_POLICIES
from hicache_model.laws import COMPONENT_LAWS, LAWS
from hicache_verify.campaigns.cells import Cell
from hicache_verify.campaigns.planted import cell_of
from hicache_verify.engine_laws import SENTENCES
from tests.bugs.search import Hunt, hunt, shortest

FACTOR = 30
MEAN = {
    "host-leaf-asks-evicted": 404,
    "host-leaf-return-slips-out": 7,
    "host-leaf-forgets-the-parent": 185,
    "unlocked-node-stays-hidden": 18,
    "device-leaf-asks-the-first-child": 178,
    "host-victim-stays-listed": 37,
    "dropped-node-leaves-orphans": 500,
    "split-forgets-locks": 54,
    "demoted-tokens-stay-counted": 6,
    "pin-is-a-flag": 105,
    "refused-load-unpins-twice": 99,
    "host-eviction-takes-pinned": 266,
    "page-freed-once-a-token": 4,
    "insert-frees-what-it-filled": 30,
    "thoughts-are-taken-back": 85,
    "duplicates-are-freed-too-late": 51,
    "node-keeps-a-view": 9,
    "reset-forgets-the-host-pool": 140,
    "reset-keeps-the-host": 114,
    "load-does-not-hold-its-pages": 1936,
    "load-mixes-up-its-nodes": 665,
    "forward-does-not-wait-for-the-load": 942,
    "refused-load-drops-the-host-copy": 267,
    "load-adds-locks-to-its-quota": 1556,
    "child-is-backed-up-first": 760,
    "eviction-does-not-wait-for-the-copy": 46,
    "eviction-stages-without-room": 128,
    "eviction-takes-copied-for-gone": 668,
    "split-drops-the-priority": 87,
    "split-cuts-the-host-copy-early": 36,
    "host-eviction-never-counts": 561,
    "eviction-reports-nothing": 17,
    "hits-stand-still": 5,
    "lookup-does-not-refresh": 49,
    "new-leaf-is-not-backed-up": 4,
    "lookup-reads-another-namespace": 668,
    "lookup-answers-from-memory": 126,
    "unpaired-token-is-given-away": 64,
}

SEEDS, FEW = 20, 3
LONGER = 5
"""Operations that a minimized trace may have more than the shortest one: no single one of them can
go then, but another way to the same law is shorter.
"""

PUBLIC = ("SGLang", "vLLM", "LMCache", "TensorRT-LLM", "Mooncake")


def within(bug: Bug) -> int:
    return FACTOR * MEAN[bug.identifier]


def found(bug: Bug, seed: int) -> Hunt:
    """What was found in time, under the bug's law."""
    hunted = hunt(bug.factory(), cell_of(bug), seed, within(bug))
    assert hunted.found is not None, f"seed {seed}: nothing found in {hunted.operations} operations"
    assert hunted.found.law == bug.law, f"seed {seed}: {hunted.found.message}"
    return hunted


def minimized_length(bug: Bug, hunted: Hunt) -> int:
    length = len(shortest(hunted).operations)
    assert bug.length <= length <= bug.length + LONGER
    return length


@pytest.mark.parametrize("bug", BANK.values(), ids=BANK)
def test_a_planted_bug_is_found_under_its_law(bug: Bug) -> None:
    first, *_ = [found(bug, seed) for seed in range(FEW)]
    minimized_length(bug, first)


@pytest.mark.slow
@pytest.mark.parametrize("bug", BANK.values(), ids=BANK)
def test_every_seed_finds_it_and_one_gives_the_stated_length(bug: Bug) -> None:
    lengths = [minimized_length(bug, found(bug, seed)) for seed in range(SEEDS)]
    assert min(lengths) == bug.length


@pytest.mark.slow
@pytest.mark.parametrize(
    ("bug", "write_policy"),
    [
        pytest.param(bug, policy, id=f"{bug.identifier}-{policy}")
        for bug in BANK.values()
        for policy in bug.write_policies[1:]
    ],
)
def test_it_shows_in_the_other_cells_that_it_names(bug: Bug, write_policy: str) -> None:
    hunted = hunt(bug.factory(), cell_of(bug, write_policy), 0, 10 * within(bug))
    assert hunted.found is not None
    assert hunted.found.law == bug.law


@pytest.mark.parametrize("cell", sorted({cell_of(bug) for bug in BANK.values()}), ids=str)
def test_nothing_is_found_where_nothing_is_planted(cell: Cell) -> None:
    hunted = hunt(NativeFactory(), cell, 0, 1_000)
    assert hunted.found is None
    assert hunted.operations >= 1_000


# -- the data --------------------------------------------------------------------------------------


def test_every_law_has_a_bug() -> None:
    assert LAWS.keys() - COMPONENT_LAWS <= {bug.law for bug in BANK.values()}


def test_bugs_name_laws_policies_and_public_bugs_that_exist() -> None:
    for bug in BANK.values():
        assert bug.law in LAWS.keys() | SENTENCES.keys()
        assert set(bug.write_policies) <= set(WRITE_POLICIES)
        assert bug.eviction_policy in EVICTION_POLICIES
        assert bug.imitates.startswith(PUBLIC)


def test_the_bank_is_large_and_no_two_of_its_bugs_share_a_name() -> None:
    from hicache_impl.bugs.bank import BUGS

    assert len(BUGS) == len(BANK) >= 24


def test_each_write_policy_has_bugs_that_are_quick_to_find() -> None:
    for policy in WRITE_POLICIES:
        quick = quick_under(policy)
        assert len(quick) >= 2
        assert all(policy in bug.write_policies for bug in quick)
        assert all(MEAN[bug.identifier] < 200 for bug in quick)


def test_an_unknown_name_is_answered_with_those_like_it() -> None:
    with pytest.raises(KeyError) as refused:
        find("host-leaf-asks-evictd")
    assert isinstance(refused.value, UnknownBug)
    assert "host-leaf-asks-evicted" in str(refused.value)


def test_a_bug_without_a_full_stop_or_with_one_word_for_a_name_is_refused() -> None:
    bug = find("host-leaf-asks-evicted")
    with pytest.raises(ValueError, match="full stop"):
        attrs.evolve(bug, sentence="something is wrong")
    with pytest.raises(ValueError, match="a few words"):
        attrs.evolve(bug, identifier="evicted")


# -- mistakes that are none here -------------------------------------------------------------------


class LooksAtTheFirstChild(Upkeep):
    """The return of #19212's function, slipped out of the test of the children."""

    def has_child_on_host(self, node: TreeNode) -> bool:
        return any(child.backed_up for child in list(node.children.values())[:1])


class RefreshesTheParentToo(Upkeep):
    """So what leaves it out, as ours does, forgets nothing."""

    def demoted(self, node: TreeNode) -> None:
        super().demoted(node)
        if node.above.parent is not None:
            self.refresh_host_leaf(node.above)


@pytest.mark.parametrize("upkeep", [LooksAtTheFirstChild, RefreshesTheParentToo])
@pytest.mark.parametrize("write_policy", WRITE_POLICIES)
def test_a_literal_mistake_that_changes_nothing_is_not_found(
    upkeep: type[Upkeep], write_policy: str
) -> None:
    factory = NativeFactory(kinds=Kinds(upkeep=upkeep))
    assert hunt(factory, Cell(write_policy, 1, "lru"), 0, 2_000).found is None
