"""What is planted is found, under its law; and where nothing is planted nothing is found."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from hicache_model.laws import LAWS
from hicache_verify.engine_laws import SENTENCES
from tests.planted.equivalent import EQUIVALENT
from tests.planted.planted import BANK, HARMLESS
from tests.planted.search import CLEAN, WITNESSES
from tests.processes import python

Note = Callable[[str, dict[str, Any]], None]

SEED = 0
LIMIT = 20_000

QUICK = (
    "host_leaf_asks_whether_a_child_is_evicted",
    "unfinished_request_keeps_reading_the_slots_it_freed",
    "split_drops_the_priority",
    "finished_request_forgets_its_last_page",
)
MODEL_ONLY = {"transition"}
"""What the comparison with the model reports where no law speaks."""


def in_a_process(*arguments: str) -> Any:
    """What ``tests.planted.search`` prints: a process holds one release."""
    child = python("-m", "tests.planted.search", *arguments, OMP_NUM_THREADS="1")
    assert child.code == 0, child.err
    return child.json


def slow_but(name: str, quick: tuple[str, ...]) -> Any:
    return pytest.param(name, id=name, marks=() if name in quick else pytest.mark.slow)


@pytest.mark.parametrize("name", [slow_but(name, QUICK) for name in BANK])
def test_a_planted_bug_is_found_under_its_law(name: str, note: Note) -> None:
    result = in_a_process(name, str(SEED), str(LIMIT))
    note(name, result)
    assert result["found"], f"{name} was not found in {result['operations']} operations"
    assert result["law"] in BANK[name].found_under, result


def test_every_witness_breaks_its_law() -> None:
    broken = in_a_process(WITNESSES)
    blind = {
        name: laws
        for name, laws in broken.items()
        if (witness := BANK[name].witness) is None or witness.law not in laws
    }
    assert not blind
    assert broken.keys() == {name for name, bug in BANK.items() if bug.witness}


def test_every_law_has_a_witness() -> None:
    assert LAWS.keys() == {bug.witness.law for bug in BANK.values() if bug.witness}


def test_planted_bugs_name_laws_that_exist() -> None:
    known = LAWS.keys() | SENTENCES.keys() | MODEL_ONLY
    assert {law for bug in BANK.values() for law in bug.found_under} <= known


def test_the_names_of_planted_bugs_differ() -> None:
    assert not BANK.keys() & HARMLESS.keys()
    assert len({*BANK, *HARMLESS}) == len(BANK) + len(EQUIVALENT)


@pytest.mark.slow
@pytest.mark.parametrize("name", HARMLESS)
def test_an_equivalent_edit_is_not_found(name: str, note: Note) -> None:
    result = in_a_process(name, str(SEED), str(LIMIT))
    note(name, result)
    assert not result["found"], result


CELLS = sorted(
    {
        f"{c.write_policy}/{c.page_size}/{c.eviction_policy}": 0
        for c in (bug.cell for bug in BANK.values())
    }
)


@pytest.mark.parametrize(
    ("cell", "limit"),
    [
        pytest.param("write_back/1/lru", 1_000, id="write_back/1/lru-quick"),
        *(pytest.param(cell, LIMIT, id=cell, marks=pytest.mark.slow) for cell in CELLS),
    ],
)
def test_nothing_is_found_where_nothing_is_planted(cell: str, limit: int, note: Note) -> None:
    result = in_a_process(CLEAN, str(SEED), str(limit), cell)
    note(f"nothing, {cell}", result)
    assert not result["found"], result
    assert result["operations"] >= limit
