"""The trees on which the cost of a step is measured."""

from __future__ import annotations

import pytest

from benchmarks.growth import GROUP, Forest, measure, number_of_steps
from hicache_model.dialects import Dialect
from hicache_model.operations import EvictDevice, EvictHost, Insert, LoadBack, Match
from hicache_verify.lockstep import LAW_INTERVAL
from tests.verify.mimic import RELEASE, Factory

DIALECT = Dialect.of(RELEASE)

POLICIES = ("write_back", "write_through", "write_through_selective")


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("nodes", [10, 100, 400])
def test_a_tree_is_filled_to_its_size_and_stays_there(nodes: int, policy: str) -> None:
    forest = Forest(nodes, policy, DIALECT)
    forest.fill()
    for _ in range(20):
        forest.steps(20)
        assert abs(len(forest.model.tree.by_path) - nodes) <= GROUP


def test_the_mix_has_every_kind_that_matters() -> None:
    forest = Forest(100, "write_back", DIALECT)
    forest.fill()
    kinds = {type(operation) for operation in forest.steps(300).operations}
    assert {Match, Insert, EvictDevice, EvictHost, LoadBack} <= kinds


def test_a_step_changes_as_much_in_a_large_tree_as_in_a_small_one() -> None:
    means = []
    for nodes in (100, 1000):
        forest = Forest(nodes, "write_back", DIALECT)
        forest.fill()
        forest.steps(500)
        means.append(sum(forest.changed) / len(forest.changed))
    assert means[1] < 1.5 * means[0]


@pytest.mark.parametrize("nodes", [10, 100, 10_000])
def test_full_comparisons_are_counted_as_often_as_they_happen(nodes: int) -> None:
    interval = max(LAW_INTERVAL, nodes // 4)
    assert number_of_steps(nodes) % interval == 0
    assert number_of_steps(nodes) >= 2 * interval


def test_both_sides_do_the_same_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.growth.LEAST_STEPS", 0)
    costs = measure(Factory(lambda operation, mimic: None), 40, "write_back")
    assert len(costs.target) == len(costs.lockstep) == number_of_steps(40)
    assert len(costs.full) == 2
    assert costs.row(40)[0] == 40
