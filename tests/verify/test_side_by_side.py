"""Two cores and the model: which of the three stands alone."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

import pytest

from hicache_impl.target import SideBySide
from hicache_model.configuration import Configuration
from hicache_model.operations import EvictDevice, Insert
from hicache_verify.campaigns.campaign import Campaign
from hicache_verify.campaigns.cells import Cell
from hicache_verify.campaigns.plan import Plan
from hicache_verify.divergence import BOTH, MODEL, NOBODY, PYTHON, RUST, UNDECIDED, Divergence
from hicache_verify.menu import RandomChooser
from hicache_verify.session import Session
from hicache_verify.side_by_side import in_lockstep
from hicache_verify.sources.random_source import run_example
from hicache_verify.targets import TargetSpec
from hicache_verify.trace import Trace, write
from hicache_verify.workers import journal as journals
from hicache_verify.workers.executor import LocalExecutor
from hicache_verify.workers.guard import Guard
from hicache_verify.workers.journal import Journal
from hicache_verify.workers.messages import Case, Found, Leg, Minimized, Reply
from tests.verify import hostile
from tests.verify.pairs import Pair, pair
from tests.verify.test_campaign import LIMITS

PAIRS = "tests.verify.pairs:"


def found_on(factory: SideBySide, policy: str = "write_back", page: int = 1) -> list[Divergence]:
    """What a few random examples find, as a campaign does: compared quickly, then exactly."""
    heard: list[Reply] = []

    def as_it_is(case: Case, divergence: Divergence) -> Minimized:
        return Minimized(divergence.key, case, divergence)

    leg = Leg(Cell(policy, page, "lru"), "random", 0, None, None)
    journal = Journal(journals.make_file())
    session = Session(factory, journal, leg, send=heard.append, minimize=as_it_is)
    for number in range(12):
        run_example(session, leg.cell, RandomChooser(Random(number)))
    session.done()
    return [said.divergence for said in heard if isinstance(said, Found)]


def alone(factory: SideBySide) -> set[str | None]:
    return {found.stands_alone for found in found_on(factory)}


VISIBLE = ("insert-frees-what-it-filled", "reset-forgets-the-host-pool", "host-victim-stays-listed")
"""Bugs in what both cores show."""


@pytest.mark.parametrize("page", [1, 4])
@pytest.mark.parametrize("policy", ["write_back", "write_through"])
def test_two_that_agree_agree(policy: str, page: int) -> None:
    assert not found_on(pair(), policy, page)


@pytest.mark.parametrize("bug", VISIBLE)
def test_a_core_with_a_bug_stands_alone(bug: str) -> None:
    assert alone(pair(rust=bug)) == {RUST}
    assert alone(pair(python=bug)) == {PYTHON}


@pytest.mark.parametrize("bug", VISIBLE)
def test_where_both_cores_have_it_the_model_stands_alone(bug: str) -> None:
    found = found_on(pair(bug, bug))
    assert {(each.core, each.stands_alone) for each in found} == {(BOTH, MODEL)}
    assert all(each.message.startswith("both cores: ") for each in found)


def test_what_only_one_core_shows_is_decided_by_what_it_leads_to() -> None:
    """Leaf sets: the other core has none to show, but evicts from them."""
    bug = "unlocked-node-stays-hidden"
    (found,) = found_on(pair(python=bug))
    assert (found.law, found.stands_alone) == ("device-leaves", PYTHON)
    (found,) = found_on(pair(bug, bug))
    assert (found.law, found.stands_alone) == ("device-leaves", MODEL)


def test_what_leads_to_nothing_both_show_stays_undecided() -> None:
    """A priority that lru does not ask for."""
    found = found_on(pair(python="split-drops-the-priority"))
    assert {each.stands_alone for each in found} == {UNDECIDED}


def after_an_eviction(factory: SideBySide, *, exact: bool) -> Divergence:
    lockstep = in_lockstep(factory, Configuration(), exact=exact)
    assert lockstep.step(Insert((1, 2))) is None
    found = lockstep.step(EvictDevice(2))
    assert found is not None
    return found


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize(
    ("python", "rust", "core", "expected"),
    [
        (hostile.agrees, hostile.raises, RUST, RUST),
        (hostile.leaves, hostile.agrees, PYTHON, PYTHON),
        (hostile.raises, hostile.raises, BOTH, MODEL),
        (hostile.raises, hostile.leaves, BOTH, NOBODY),
        (hostile.corrupts, hostile.raises, BOTH, NOBODY),
    ],
)
def test_whoever_raises_is_named(
    python: Any, rust: Any, core: str, expected: str, exact: bool
) -> None:
    found = after_an_eviction(Pair(python(), rust()), exact=exact)
    assert (found.core, found.stands_alone, found.step) == (core, expected, 1)


def test_what_each_of_three_says_is_told() -> None:
    found = after_an_eviction(Pair(hostile.corrupts(), hostile.raises()), exact=True)
    python, rust = found.message.split("; the Rust core: ")
    assert python.startswith("the Python core: ")
    assert "99" in python
    assert rust.startswith("the target raised KeyError")


def test_the_state_that_is_shown_is_that_of_the_core_that_diverged() -> None:
    """With what it does not show as it should be, so that only the difference stands out."""
    lockstep = in_lockstep(pair(rust="insert-frees-what-it-filled"), Configuration())
    for operation in (Insert((1, 2)), EvictDevice(2), Insert((1, 2))):
        found = lockstep.step(operation)
    assert found is not None
    assert found.stands_alone == RUST
    python, rust = lockstep.shown()
    assert len(lockstep.actual.device_free) == len(rust.device_free) != len(python.device_free)
    assert lockstep.actual.evictable_device_leaves == python.evictable_device_leaves


@pytest.mark.parametrize("expected", [PYTHON, RUST, MODEL])
def test_a_core_that_cannot_be_built_is_named(expected: str) -> None:
    python = hostile.agrees() if expected == RUST else hostile.cannot_build()
    rust = hostile.agrees() if expected == PYTHON else hostile.cannot_build()
    guard = Guard(Pair(python, rust), Journal(journals.make_file()), exact=True)
    found = guard.start(Configuration())
    assert found is not None
    assert (found.kind, found.stands_alone) == ("crash", expected)


# -- over processes --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "kind", "core", "expected"),
    [
        ("rust_hangs", "hang", RUST, RUST),
        ("python_dies", "death", PYTHON, PYTHON),
        ("both_die", "death", PYTHON, MODEL),
        ("rust_dies_and_python_raises", "death", RUST, NOBODY),
    ],
)
def test_a_core_that_hangs_or_dies_is_named_after_the_other_was_asked_alone(
    target: str, kind: str, core: str, expected: str
) -> None:
    plan = Plan(
        TargetSpec(PAIRS + target),
        examples=12,
        budget=None,
        sources=("random",),
        limits=LIMITS,
        canary_every=None,
        first=True,
    )
    (found,) = Campaign(plan, LocalExecutor(LIMITS), lambda event: None).run().findings
    told = found.divergence
    assert (told.kind, told.core, told.stands_alone) == (kind, core, expected)
    assert found.minimized
    assert found.case.operations == (EvictDevice(2),)


def test_replay_attributes_a_death_and_explore_finds_it(cli: Any, tmp_path: Path) -> None:
    trace = tmp_path / "death.jsonl"
    write(trace, Trace(Configuration(), "pair", "0", (EvictDevice(2),)))
    target = ("--target", PAIRS + "python_dies")
    replayed = json.loads(cli("replay", str(trace), *target, "--json").out)
    assert (replayed["kind"], replayed["stands_alone"]) == ("death", PYTHON)
    explored = json.loads(cli("explore", *target, "--depth", "2", "--workers", "1", "--json").out)
    assert {each["stands_alone"] for each in explored["divergences"]} == {PYTHON}


def test_the_reports_name_who_stands_alone_and_what_was_not_compared(cli: Any) -> None:
    done = cli("run", "--target", PAIRS + "rust_raises", "--examples", "12", "--workers", "1")
    assert done.code == 1
    assert "not compared on the Rust core, which does not show it: lock counts" in done.out
    assert "the Rust core: the target raised KeyError" in done.out
    assert "stands alone: the Rust core; the Python core and the model agree" in done.out
    (listing,) = Path("hicache-findings").glob("*.txt")
    assert "stands alone: the Rust core" in listing.read_text(encoding="utf-8")


def test_an_exploration_joins_states_that_are_the_same_on_both(cli: Any) -> None:
    done = json.loads(
        cli("explore", "--target", PAIRS + "agree", "--depth", "3", "--workers", "1", "--json").out
    )
    assert (done["verdict"], done["complete"]) == ("agree", True)
    assert done["states"] < done["transitions"]
    assert done["unobserved_by_core"]["python"] == []
