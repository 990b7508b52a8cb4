"""What is put beside the cache alone, on a target without torch."""

from __future__ import annotations

import pytest

from benchmarks import memory
from benchmarks.measure import Contender
from benchmarks.sessions import Measured, Parted
from benchmarks.speed import Speed
from hicache_verify.campaigns.cells import Cell
from hicache_verify.sources.random_source import run_random
from tests.verify.hostile import raises
from tests.verify.mimic import Factory

CELL = Cell("write_back", 1, "lru")
REPLAYING = ("target", "observed", "model", "replay", "building")


@pytest.fixture(scope="module")
def contenders() -> dict[str, Contender]:
    factory = Factory(lambda operation, mimic: None)
    speed = Speed(factory, factory, CELL, examples=4, rounds=1)
    return {contender.key: contender for contender in speed.contenders()}


def test_what_is_replayed_is_what_the_random_source_gave(contenders: dict[str, Contender]) -> None:
    performed = contenders["random"].run(1)
    assert performed > 0
    assert [contenders[key].run(1) for key in REPLAYING] == [performed] * len(REPLAYING)


def test_without_an_oracle_the_random_source_gives_the_same_operations(
    contenders: dict[str, Contender],
) -> None:
    assert contenders["blind"].run(1) == contenders["random"].run(1)


@pytest.mark.parametrize("key", ["hypothesis", "empty", "naive"])
def test_hypothesis_runs_as_many_examples_and_counts(
    contenders: dict[str, Contender], key: str
) -> None:
    assert contenders[key].run(1) > 0


def test_hypothesis_gives_the_plain_peer_the_same_operations(
    contenders: dict[str, Contender],
) -> None:
    assert contenders["naive"].run(2) == contenders["hypothesis"].run(2)


def test_nothing_is_measured_on_a_cache_that_parts_from_the_model() -> None:
    session = Measured(raises(), CELL)
    with pytest.raises(Parted, match="parts from the model"):
        run_random(session, CELL, seed=0, examples=40, deadline=None)


def test_memory_is_looked_at_ten_times() -> None:
    said: list[str] = []
    table = memory.table(Factory(lambda operation, mimic: None), CELL, 200, said.append)
    assert len(table.rows) == len(said) == 10
    assert [row[1] for row in table.rows[:2]] == ["random", "Hypothesis"]
    assert int(table.rows[-1][0] or 0) >= 200
