"""Reach: each goal is told by a short list of operations, none is rare, and reports show them."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from random import Random
from typing import Any

import attrs
import pytest
from rich.console import Console

from hicache_impl.native.target import NativeFactory
from hicache_impl.sglang.releases import default_cache
from hicache_model import operations as ops
from hicache_model import rules
from hicache_model.codec import decode_fields
from hicache_model.configuration import WRITE_POLICIES, Configuration
from hicache_model.dialects import Dialect
from hicache_model.laws import LAWS
from hicache_model.reference import Reference
from hicache_verify import events
from hicache_verify.campaigns.cells import Cell
from hicache_verify.campaigns.coverage import PER, Coverage
from hicache_verify.goals import GOALS, Goal
from hicache_verify.goals.goal import EVERYWHERE, BadGoal, Where
from hicache_verify.menu import RandomChooser
from hicache_verify.reach import NOT_CACHED, Reach, Watch, total
from hicache_verify.report.coverage import as_data, tables
from hicache_verify.report.json_report import JsonReport
from hicache_verify.report.terminal import Terminal
from hicache_verify.sources.examples import draw_plan

RELEASE = "0.5.18"
DIALECT = Dialect.of(RELEASE)
EXAMPLES = [
    json.loads(line)
    for line in (Path(__file__).parent / "goal_examples.jsonl").read_text().splitlines()
]
PUBLIC_BUG = re.compile(r"#\d+")


def walk(
    cell: Cell, operations: int, goals: tuple[Goal, ...] = GOALS, release: str = RELEASE
) -> Reach:
    """What the random source reaches on the model alone in so many operations."""
    target, reach, dialect = NativeFactory().description, Reach(), Dialect.of(release)
    watch, number = Watch(reach, cell, dialect, goals), 0
    while reach.operations.total() < operations:
        chooser, number = RandomChooser(Random(f"reach/{cell}/{number}")), number + 1
        plan = draw_plan(cell, target, chooser)
        model = Reference(plan.configuration, dialect)
        menu = plan.menu(model)
        watch.begin(model)
        for _ in range(plan.length):
            operation = menu.draw(chooser)
            if operation is not None:
                watch.note(operation, model.apply(operation))
    return reach


def follow(configuration: Configuration, release: str, *operations: ops.Operation) -> Watch:
    """A watch that has seen these operations on a fresh cache."""
    cell = Cell.of(configuration)
    dialect = Dialect.of(release, default_cache(release))
    model, watch = Reference(configuration, dialect), Watch(Reach(), cell, dialect)
    watch.begin(model)
    for operation in operations:
        assert rules.refusal(model, operation) is None, ops.describe(operation)
        watch.note(operation, model.apply(operation))
    return watch


# -- goals -----------------------------------------------------------------------------------------


def test_every_goal_has_an_example() -> None:
    """scripts/goal_examples.py finds them."""
    assert [example["goal"] for example in EXAMPLES] == [goal.name for goal in GOALS]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example["goal"])
def test_an_example_reaches_its_goal_with_the_last_operation(example: dict[str, Any]) -> None:
    configuration = decode_fields(Configuration, example["configuration"])
    operations = [ops.codec.decode(data) for data in example["operations"]]
    before = follow(configuration, example["release"], *operations[:-1]).reach
    after = follow(configuration, example["release"], *operations).reach
    assert before.goals[example["goal"]] == 0
    assert after.goals[example["goal"]] == 1


@pytest.mark.parametrize("goal", GOALS, ids=lambda goal: goal.name)
def test_a_goal_guards_laws_that_exist_or_public_bugs(goal: Goal) -> None:
    for guarded in goal.guards.split(", "):
        assert guarded in LAWS or PUBLIC_BUG.fullmatch(guarded), guarded


def test_names_of_goals_are_unique() -> None:
    assert len({goal.name for goal in GOALS}) == len(GOALS)


def test_a_goal_without_a_reason_is_refused() -> None:
    with pytest.raises(BadGoal, match="laws or bugs"):
        Goal("a name", "", lambda moment: True)
    with pytest.raises(BadGoal, match="write_never"):
        Where(("write_never",))
    with pytest.raises(BadGoal, match="no dialect"):
        Where(dialect=("weather", "fine"))


@pytest.mark.parametrize("release", [RELEASE, "0.5.12"])
@pytest.mark.parametrize("write_policy", WRITE_POLICIES)
def test_a_goal_is_not_reached_where_it_is_said_not_to_be(write_policy: str, release: str) -> None:
    cell, dialect = Cell(write_policy, 1, "lru"), Dialect.of(release)
    elsewhere = [goal for goal in GOALS if not goal.where.holds(cell, dialect)]
    assert elsewhere
    goals = tuple(attrs.evolve(goal, where=EVERYWHERE) for goal in elsewhere)
    assert not +walk(cell, 3_000, goals, release).goals


# -- counts ----------------------------------------------------------------------------------------


def test_a_touched_node_counts_in_the_state_that_it_had_before() -> None:
    watch = follow(
        Configuration(), RELEASE, ops.Insert((1, 2)), ops.Match((1,)), ops.EvictDevice(2)
    )
    assert dict(watch.reach.touched) == {
        (NOT_CACHED, "insert"): 1,
        ("on GPU", "match"): 1,  # the split: one node was touched, its upper half is no new KV
        ("on GPU", "evict_device"): 2,
    }
    assert watch.reach.states["evicted"] == 2


def test_a_lasting_goal_counts_when_it_comes_about_and_not_while_it_lasts() -> None:
    small = Configuration(device_slots=2)
    full, again = ops.Insert((1, 2)), ops.Match((1, 2))
    assert follow(small, RELEASE, full).reach.goals["a full device"] == 1
    assert follow(small, RELEASE, full, again).reach.goals["a full device"] == 1
    more = (ops.EvictDevice(2), ops.Insert((3, 3)))
    assert follow(small, RELEASE, full, again, *more).reach.goals["a full device"] == 2


def test_counts_of_several_add_up() -> None:
    one = follow(Configuration(), RELEASE, ops.Insert((1, 2)), ops.EvictDevice(2)).reach
    both = total((one, one))
    assert both.operations == {"insert": 2, "evict_device": 2}
    assert both.touched[NOT_CACHED, "insert"] == 2
    assert both.goals == {goal: 2 * count for goal, count in one.goals.items()}


# -- none is rare ----------------------------------------------------------------------------------

OPERATIONS = 4 * PER


def test_no_goal_is_reached_less_than_once_in_ten_thousand_operations() -> None:
    """One page size and seed; docs/reach.md has the figures of all."""
    reaches = {cell: walk(cell, OPERATIONS) for cell in (Cell(p, 1, "lru") for p in WRITE_POLICIES)}
    coverage = Coverage(reaches, DIALECT)
    rare = [(found.goal.name, found.rarest, found.least) for found in coverage.goals()]
    assert not [found for found in rare if found[2] < 1]


@pytest.mark.parametrize("write_policy", WRITE_POLICIES)
def test_none_is_rare_that_takes_stripped_thoughts(write_policy: str) -> None:
    goals = tuple(goal for goal in GOALS if goal.where.strip_thinking)
    reached = walk(Cell(write_policy, 2, "lru", strip_thinking=True), PER, goals).goals
    assert min(reached[goal.name] for goal in goals) >= 1


# -- reports ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def coverage() -> Coverage:
    cells = (Cell("write_back", 1, "lru"), Cell("write_through", 4, "lru"))
    return Coverage({cell: walk(cell, 1_000) for cell in cells}, DIALECT)


def shown(coverage: Coverage) -> list[str]:
    out = io.StringIO()
    Console(file=out, width=100, color_system=None).print(tables(coverage))
    return out.getvalue().splitlines()


def test_the_tables_fit_a_hundred_columns_without_colour(coverage: Coverage) -> None:
    lines = shown(coverage)
    assert max(map(len, lines)) <= 100
    text = "\n".join(lines)
    for name in ops.codec.classes:
        assert name.replace("_", " ") in text
    for reached in coverage.goals():
        assert f"{reached.goal.name} " in text
    assert "…" not in text


def test_a_goal_is_not_listed_where_it_cannot_be_reached(coverage: Coverage) -> None:
    back = Coverage({Cell("write_back", 1, "lru"): Reach()}, DIALECT)
    names = {reached.goal.name for reached in back.goals()}
    assert "a split of a node with a write in flight" not in names
    assert "a decoded token that opens a page" not in names
    assert "a decoded token that opens a page" in {r.goal.name for r in coverage.goals()}
    assert not any(state.transfer == "write" for state in back.states())


def test_a_goal_is_rare_only_after_enough_operations() -> None:
    cell = Cell("write_back", 1, "lru")
    for operations, rare in ((PER - 1, False), (PER, True)):
        reach = Reach()
        reach.operations["match"] = operations
        coverage = Coverage({cell: reach}, DIALECT)
        assert all(reached.is_rare is rare for reached in coverage.goals())


def test_rates_are_told_of_the_cells_where_a_goal_can_be_reached(coverage: Coverage) -> None:
    data = as_data(coverage)
    cells = {cell: reach.operations.total() for cell, reach in coverage.reaches.items()}
    assert data["operations"] == sum(cells.values())
    written = next(g for g in data["goals"] if g["goal"] == "several writes acknowledged at once")
    assert written["operations"] == cells[Cell("write_through", 4, "lru")]
    assert written["per_10000"] == pytest.approx(
        written["count"] / written["operations"] * PER, 1e-2
    )
    assert written["least"]["write_policy"] == "write_through"
    assert json.loads(json.dumps(data)) == data


def test_both_reports_have_the_coverage_of_a_campaign_that_was_asked_for_it(
    coverage: Coverage,
) -> None:
    asked = events.CampaignFinished(events.AGREE, 9, 2_000, 1.0, (), coverage=coverage)
    others = attrs.evolve(asked, coverage=None)
    for finished, there in ((asked, True), (others, False)):
        as_json, as_text = io.StringIO(), io.StringIO()
        JsonReport(as_json, lambda finding: None)(finished)
        Terminal(Console(file=as_text, width=100), lambda finding: None)(finished)
        assert ("coverage" in json.loads(as_json.getvalue())) is there
        assert ("a full device and a full host" in as_text.getvalue()) is there
