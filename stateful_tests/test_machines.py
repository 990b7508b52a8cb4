"""The state machines on a real cache, and what the random source reaches.

HYPOTHESIS_PROFILE says how long (profiles.py), ``--release``, ``--cache`` and ``--core`` on what,
``--bigram`` with which keys, ``--strip-thinking`` what requests leave.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from random import Random
from typing import Any, TypeAlias

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from hicache_impl.sglang import releases
from hicache_impl.target import Description, TargetFactory
from hicache_model import operations as ops
from hicache_model.configuration import EVICTION_POLICIES, WRITE_POLICIES, Configuration
from hicache_model.dialects import UNIFIED, Dialect
from hicache_model.reference import Reference
from hicache_model.states import LEGAL_STATES, reachable_under
from hicache_verify.campaigns.cells import Cell
from hicache_verify.goals import GOALS
from hicache_verify.menu import Menu, RandomChooser
from hicache_verify.reach import Reach, Watch
from hicache_verify.sources.examples import draw_plan
from stateful_tests.machines import MACHINES, CacheMachine

PAGE_SIZES = (1, 4)
CELLS = tuple(Cell(policy, page, "lru") for policy, page in product(WRITE_POLICIES, PAGE_SIZES))

MIXED = (("write_back", 1), ("write_through", 4))
WITH_PAIRS = tuple(Cell(policy, page, "lru", bigram=True) for policy, page in MIXED)
STRIPPED = tuple(Cell(policy, page, "lru", strip_thinking=True) for policy, page in MIXED)


def name_of(cell: Cell) -> str:
    beside = "/pairs" * cell.bigram + "/stripped" * cell.strip_thinking
    return f"{cell.write_policy}/{cell.page_size}/{cell.eviction_policy}{beside}"


# -- the machines on a real cache ------------------------------------------------------------------


def combinations() -> Iterator[Any]:
    for policy in EVICTION_POLICIES:
        marks = () if policy == "lru" else pytest.mark.slow
        for machine, write, page in product(MACHINES, WRITE_POLICIES, PAGE_SIZES):
            cell = Cell(write, page, policy)
            yield pytest.param(machine, cell, id=f"{machine.__name__}/{name_of(cell)}", marks=marks)


@pytest.mark.parametrize(("machine", "cell"), list(combinations()))
def test_the_cache_does_what_the_model_says(
    machine: type[CacheMachine],
    cell: Cell,
    factory: TargetFactory,
    as_asked: Callable[[Cell], Cell],
) -> None:
    cell, known = as_asked(cell), factory.description.eviction_policies
    if cell.eviction_policy not in known:
        pytest.skip(f"{factory.description.release} has only {', '.join(known)}")
    reach = Reach()
    run_state_machine_as_test(machine.on(factory, cell, reach), settings=settings())
    assert reach.operations, "no operation was performed"


UNIFIED_RELEASE = "0.5.23"


@pytest.mark.parametrize("profile", ["dev", pytest.param("ci", marks=pytest.mark.slow)])
@pytest.mark.parametrize("machine", MACHINES, ids=lambda machine: str(machine.__name__))
def test_the_unified_cache_does_what_the_model_says(
    machine: type[CacheMachine], profile: str
) -> None:
    """The same machines under every write policy and page size, in a process of its own."""
    this = f"{Path(__file__).relative_to(Path(__file__).parents[1])}"
    names = [
        f"{this}::{test_the_cache_does_what_the_model_says.__name__}"
        f"[{machine.__name__}/{name_of(cell)}]"
        for cell in CELLS
    ]
    options = ("-q", "-p", "no:cacheprovider", "--release", UNIFIED_RELEASE, "--cache", UNIFIED)
    child = in_a_process("-m", "pytest", *options, *names, profile=profile)
    if f"{len(CELLS)} skipped" in child.stdout:
        pytest.skip(child.stdout.strip())
    assert child.returncode == pytest.ExitCode.OK, child.stdout + child.stderr
    assert f"{len(CELLS)} passed" in child.stdout, child.stdout


AFFECTED = "0.5.10.post1"
BROKEN_LAWS = ("host-leaves", "no-crash", "backup-prefix-closed", "bytes", "pinned-until-ack")
"""By #19212, by a backup without host room, by a backup whose parent has none, and by #27631."""

TIMEOUT_S = 300
SKIPPED = "cannot be fetched: "

FIRST_FAILURE = f"""
import sys
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test
from hicache_impl.sglang.errors import Offline
from hicache_verify.campaigns.cells import Cell
from hicache_verify.targets import TargetSpec, open_factory
from stateful_tests.machines import CacheMachine
try:
    factory = open_factory(TargetSpec(release={AFFECTED!r}))
except Offline as error:
    sys.exit({SKIPPED!r} + str(error))
run_state_machine_as_test(
    CacheMachine.on(factory, Cell("write_back", 1, "lru")),
    settings=settings(
        settings.get_profile("ci"), max_examples=500, deadline=None, phases=[Phase.generate]
    ),
)
"""
"""The machine without shrinking, which takes most of the time."""


def in_a_process(*arguments: str, profile: str = "ci") -> subprocess.CompletedProcess[str]:
    """A process holds one release."""
    root = Path(__file__).parents[1]
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=root,
        env={
            **os.environ,
            "HYPOTHESIS_PROFILE": profile,
            "PYTHONPATH": os.pathsep.join((str(root), *filter(None, sys.path))),
        },
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )


def test_a_release_with_a_bug_fails_with_a_report() -> None:
    """Which of its bugs comes first is Hypothesis's choice."""
    child = in_a_process("-c", FIRST_FAILURE)
    if SKIPPED in child.stderr:
        pytest.skip(child.stderr.strip())
    assert child.returncode == 1, child.stdout + child.stderr
    assert "DivergenceError" in child.stderr, child.stderr
    assert any(f"✗ {law}" in child.stderr for law in BROKEN_LAWS), child.stderr


@pytest.mark.slow
def test_a_release_with_a_bug_fails_under_pytest() -> None:
    """The same as a user would run it, shrunk to a few operations."""
    name = f"{test_the_cache_does_what_the_model_says.__name__}[CacheMachine/write_back/1/lru]"
    test = f"{Path(__file__).relative_to(Path(__file__).parents[1])}::{name}"
    options = ("-q", "-p", "no:cacheprovider", "--release", AFFECTED)
    child = in_a_process("-m", "pytest", *options, test)
    if "1 skipped" in child.stdout:
        pytest.skip(child.stdout.strip())
    assert child.returncode == pytest.ExitCode.TESTS_FAILED, child.stdout + child.stderr
    assert "DivergenceError" in child.stdout, child.stdout
    assert any(f"✗ {law}" in child.stdout for law in BROKEN_LAWS), child.stdout


# -- what is reached -------------------------------------------------------------------------------

EXAMPLES, MORE_EXAMPLES = 800, 2_000
SEED = 0


def explore(
    cell: Cell, release: str, dialect: Dialect, examples: int
) -> tuple[Reach, dict[str, int]]:
    """Examples of the random source on the model alone: what was reached, and first in which."""
    target = Description(
        "sglang",
        release,
        "the model alone",
        releases.eviction_policies(release),
        releases.host_may_be_smaller(release),
    )
    reach, first = Reach(), dict[str, int]()
    watch = Watch(reach, cell, dialect)
    for number in range(examples):
        chooser = RandomChooser(Random(f"{SEED}/{cell}/{number}"))
        plan = draw_plan(cell, target, chooser)
        model = Reference(plan.configuration, dialect)
        menu = plan.menu(model)
        watch.begin(model)
        for _ in range(plan.length):
            operation = menu.draw(chooser)
            if operation is not None:
                watch.note(operation, model.apply(operation))
        for thing in reached(reach):
            first.setdefault(thing, number + 1)
    return reach, first


def reached(reach: Reach) -> Iterator[str]:
    yield from reach.operations
    yield from reach.states
    yield from reach.goals


def to_reach(cell: Cell, dialect: Dialect) -> set[str]:
    """Everything that must be seen in a cell; nothing else may be."""
    model = Reference(Configuration(cell.write_policy, cell.eviction_policy), dialect)
    operations = {ops.codec.names[kind] for kind in Menu(model).kinds}
    if cell.write_policy == "write_back":  # it leaves no write queued or in flight
        operations -= {ops.codec.names[kind] for kind in (ops.CompleteWrites, ops.StartWrites)}
    states = {str(state) for state in LEGAL_STATES if reachable_under(state, cell.write_policy)}
    return operations | states | {goal.name for goal in GOALS if goal.where.holds(cell, dialect)}


Note: TypeAlias = Callable[[str, dict[str, tuple[int, int]]], None]


@pytest.mark.parametrize("cell", [*CELLS, *WITH_PAIRS, *STRIPPED], ids=name_of)
def test_everything_is_reached(cell: Cell, release: str, cache: str, note: Note) -> None:
    everything_is_reached(cell, release, Dialect.of(release, cache), EXAMPLES, note)


@pytest.mark.slow
@pytest.mark.parametrize("cell", CELLS, ids=name_of)
def test_everything_is_reached_as_the_unified_cache_does_it(cell: Cell, note: Note) -> None:
    dialect = Dialect.of(UNIFIED_RELEASE, UNIFIED)
    everything_is_reached(cell, UNIFIED_RELEASE, dialect, MORE_EXAMPLES, note)


def everything_is_reached(
    cell: Cell, release: str, dialect: Dialect, examples: int, note: Note
) -> None:
    reach, first = explore(cell, release, dialect, examples)
    counts = {**reach.operations, **reach.states, **reach.goals}
    note(
        f"{cell}: {reach.operations.total():,} operations in {examples:,} examples",
        {thing: (first[thing], counts[thing]) for thing in first},
    )
    wanted = to_reach(cell, dialect)
    assert not wanted - first.keys(), "not reached"
    assert not first.keys() - wanted, "reached, and should not be"
