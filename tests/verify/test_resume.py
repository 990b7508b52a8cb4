"""Campaigns that were cut short, and go on."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import psutil
import pytest

from hicache_model.operations import EvictDevice, Insert
from hicache_model.outcomes import Evicted, Matched
from hicache_verify import events, trace
from hicache_verify.campaigns import plain
from hicache_verify.campaigns.campaign import Campaign
from hicache_verify.campaigns.cells import Cell, Selection
from hicache_verify.campaigns.plan import Plan
from hicache_verify.campaigns.record import EVERY, FindingLine, Record, Recorded, create, reopen
from hicache_verify.divergence import Divergence
from hicache_verify.findings import Finding, FoundAfter
from hicache_verify.report.files import Files
from hicache_verify.targets import TargetSpec
from hicache_verify.trace import TraceError
from hicache_verify.workers.executor import LocalExecutor
from tests.processes import Ran, command, end, start, wait_until
from tests.verify.test_reports import CRASH, HOST_LEAVES, STARTED

HOSTILE = "tests.verify.hostile:"
CELLS = (Cell("write_back", 1, "lru"), Cell("write_through", 1, "lru"))
PLAN = Plan(
    TargetSpec(HOSTILE + "corrupts"),
    Selection(("write_back", "write_through")),
    examples=20,
    budget=None,
    sources=("random",),
)


def told(folder: Path, *happened: events.Event, plan: Plan = PLAN, after: float = 0) -> None:
    """A campaign of which this happened, ``after`` seconds each, and that was killed then."""
    files = Files(folder)
    now = [0.0]
    record = Record(folder, plan, files.path, clock=lambda: now[0])
    for event in (STARTED, *happened):
        now[0] += after
        files(event)
        record(event)


def progress(cell: Cell, examples: int) -> events.Progress:
    return events.Progress(cell, "random", 9.0, examples, 10 * examples, minimizing=False)


# -- the record ------------------------------------------------------------------------------------


def test_what_a_campaign_had_done_is_read_back(tmp_path: Path) -> None:
    done = events.CellFinished(CELLS[0], 20, 200, 3.5, ("host-leaves",))
    told(
        tmp_path,
        events.CellStarted(CELLS[0], 1, 2),
        events.FindingFound(HOST_LEAVES),
        events.FindingSettled(HOST_LEAVES),
        done,
        events.CellStarted(CELLS[1], 2, 2),
        events.FindingFound(CRASH),
        progress(CELLS[1], 27),
        after=EVERY,
    )
    recorded = reopen(tmp_path)
    past = recorded.past
    assert recorded.plan == PLAN
    assert recorded.verdict is None
    assert [_bare(finding) for finding in past.findings] == [_bare(HOST_LEAVES), _bare(CRASH)]
    assert past.findings[0].divergence.nodes == HOST_LEAVES.divergence.nodes
    assert past.cells[CELLS[0]] == done
    assert (past.cells[CELLS[1]].examples, past.cells[CELLS[1]].operations) == (7, 70)
    assert past.to_visit(CELLS) == CELLS[1:]
    assert past.examples_left(CELLS[1], 20) == 13


def _bare(finding: Finding) -> Finding:
    return attrs.evolve(finding, steps=())


def test_a_finding_that_was_being_minimized_waits_for_it(tmp_path: Path) -> None:
    told(tmp_path, events.FindingFound(attrs.evolve(HOST_LEAVES, minimized=False)))
    assert reopen(tmp_path).past.unsettled == {HOST_LEAVES.divergence.key}


def test_a_last_line_that_was_cut_short_is_forgotten(tmp_path: Path) -> None:
    told(tmp_path, events.FindingFound(HOST_LEAVES))
    (path,) = tmp_path.glob("*.ndjson")
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"cell": {"done": {"ce')
    recorded = reopen(tmp_path)
    assert len(recorded.past.findings) == 1
    recorded.file.close()
    assert path.read_bytes() == whole


def test_the_last_campaign_of_a_folder_is_taken(tmp_path: Path) -> None:
    for seed in range(11):
        told(tmp_path, plan=attrs.evolve(PLAN, seed=seed))
    assert reopen(tmp_path).plan.seed == 10


def test_a_running_campaign_is_not_taken_up(tmp_path: Path) -> None:
    with create(tmp_path), pytest.raises(TraceError, match="still running"):
        reopen(tmp_path)


def _spoil(text: str) -> Callable[[list[str]], list[str]]:
    return lambda lines: [lines[0], text, *lines[1:]]


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda lines: [], "line 1: "),
        (lambda lines: lines[1:], "line 1: a campaign's plan is the first line"),
        (lambda lines: [lines[0]] * 2, "line 2: a campaign's plan is the first line"),
        (lambda lines: [lines[0].replace('"format": 1', '"format": 2')], "format 2 is not known"),
        (lambda lines: [lines[0].replace('"seed": 0', '"seed": "0"')], "seed: expected int"),
        (lambda lines: [lines[0].replace('"seed": 0, ', "")], "expected an object with"),
        (_spoil("{"), "line 2: not JSON"),
        (_spoil('{"surprise": 1}'), "line 2: not a line of a campaign"),
        (lambda lines: [*lines, lines[1].replace('"number": 1', '"number": 3')], "numbered"),
        (lambda lines: [*lines[:1], lines[1].replace("host-leaves-1", "../x")], "no trace beside"),
        (lambda lines: [*lines[:1], lines[1].replace("host-leaves-1.j", "x.j")], "No such file"),
    ],
)
def test_what_is_no_record_is_refused_in_one_line(
    tmp_path: Path, spoil: Callable[[list[str]], list[str]], says: str
) -> None:
    told(tmp_path, events.FindingFound(HOST_LEAVES))
    (path,) = tmp_path.glob("*.ndjson")
    path.write_text("".join(line + "\n" for line in spoil(path.read_text().splitlines())))
    with pytest.raises(TraceError, match=says) as refused:
        reopen(tmp_path)
    assert "\n" not in str(refused.value)


def test_a_record_that_cannot_be_written_ends_no_campaign(tmp_path: Path) -> None:
    place = tmp_path / "a file"
    place.write_text("")
    record = Record(place, PLAN, lambda finding: None)
    for event in (STARTED, events.FindingFound(HOST_LEAVES)):
        record(event)
    assert record.problem is not None


def test_text_that_is_no_text_can_be_written_and_read() -> None:
    divergence = attrs.evolve(HOST_LEAVES.divergence, message="half a pair: \ud800")
    line = FindingLine(
        1, CELLS[0], "random", 0, divergence, FoundAfter(1, 2, 3.0), True, 0, "x.jsonl"
    )
    read = plain.decode(FindingLine, json.loads(json.dumps(plain.encode(line))))
    assert read.divergence.message == "half a pair: \\ud800"


def test_what_should_have_been_answered_is_kept() -> None:
    for due in (None, Evicted(2), Matched(1, 2, (), 3)):
        divergence = attrs.evolve(HOST_LEAVES.divergence, due=due)
        encoded = json.dumps(plain.encode(divergence))
        assert plain.decode(Divergence, json.loads(encoded)) == divergence


# -- going on --------------------------------------------------------------------------------------


def go_on(recorded: Recorded, **changes: Any) -> tuple[events.CampaignFinished, list[Any]]:
    heard: list[Any] = []
    plan = attrs.evolve(recorded.plan, **changes)
    executor = LocalExecutor(plan.limits)
    return Campaign(plan, executor, heard.append, past=recorded.past).run(), heard


def test_the_rest_is_explored_and_the_result_is_that_of_both_parts(tmp_path: Path) -> None:
    told(
        tmp_path,
        events.CellStarted(CELLS[0], 1, 2),
        events.CellFinished(CELLS[0], 20, 200, 3.5, ()),
        events.CellStarted(CELLS[1], 2, 2),
        progress(CELLS[1], 25),
        after=EVERY,
    )
    finished, heard = go_on(reopen(tmp_path))
    assert finished.examples == 40
    assert finished.seconds > 3.5
    cells = [event for event in heard if isinstance(event, events.CellFinished)]
    assert [(cell.cell, cell.examples) for cell in cells] == [(CELLS[0], 20), (CELLS[1], 20)]
    assert [event.cell for event in heard if isinstance(event, events.CellStarted)] == [CELLS[1]]


def test_findings_keep_their_numbers_and_those_that_wait_are_minimized(tmp_path: Path) -> None:
    case = attrs.evolve(HOST_LEAVES.case, operations=(Insert((1, 2, 3)), EvictDevice(3)))
    broken = attrs.evolve(HOST_LEAVES.divergence, law="conservation", nodes=())
    waiting = attrs.evolve(HOST_LEAVES, divergence=broken, case=case, minimized=False)
    told(tmp_path, events.FindingFound(waiting))
    finished, heard = go_on(reopen(tmp_path))
    (found,) = finished.findings
    assert (found.number, found.found_after) == (1, waiting.found_after)
    assert found.case == attrs.evolve(case, configuration=found.case.configuration,
                                      operations=(EvictDevice(2),))  # fmt: skip
    assert found.repeats > 0
    assert not [event for event in heard if isinstance(event, events.FindingFound)]


def test_a_finished_campaign_can_be_extended_over_all_its_cells(tmp_path: Path) -> None:
    plan = attrs.evolve(PLAN, examples=None, budget=5.0, spec=TargetSpec(HOSTILE + "agrees"))
    each = [events.CellFinished(cell, 20, 200, 2.5, ()) for cell in CELLS]
    told(tmp_path, *each, plan=plan)
    finished, heard = go_on(reopen(tmp_path), budget=6.0)
    cells = [event for event in heard if isinstance(event, events.CellFinished)]
    assert [cell.cell for cell in cells] == list(CELLS)
    assert all(cell.examples > 20 for cell in cells)
    assert finished.examples == sum(cell.examples for cell in cells)


# -- the command -----------------------------------------------------------------------------------


def resumed(folder: Path, *arguments: str) -> Ran:
    return command("run", "--resume", *arguments, folder=folder)


def written_to(path: Path) -> Path:
    wait_until(lambda: path.exists() and path.stat().st_size)
    return path


def test_a_campaign_that_is_killed_loses_no_finding_and_goes_on(tmp_path: Path) -> None:
    asked = ("--target", HOSTILE + "corrupts", "--examples", "1500", "--workers", "2")
    started = start("run", *asked, folder=tmp_path)
    record = written_to(tmp_path / "hicache-findings/campaign-1.ndjson")
    wait_until(lambda: '"finding"' in record.read_text())  # which comes after the trace
    written = tmp_path / "hicache-findings/conservation-1.jsonl"
    started.kill()
    started.communicate()
    before = trace.read(written).provenance
    code, out, err = resumed(tmp_path, "hicache-findings", "--json")
    report = json.loads(out)
    assert (code, err) == (1, "")
    (found,) = report["divergences"]
    assert found["found_after"]["operations"] == before["found_after_operations"]
    assert (found["operations"], found["trace"]) == (1, "hicache-findings/conservation-1.jsonl")
    assert report["examples"] >= 1500
    assert trace.read(written).operations == (EvictDevice(2),)
    code, out, err = resumed(tmp_path, "hicache-findings")
    path = Path("hicache-findings/campaign-1.ndjson")
    assert (code, out, err) == (1, f"{path} is finished: diverged, 1 distinct divergence\n", "")


def test_a_worker_that_is_killed_loses_no_finding(tmp_path: Path) -> None:
    asked = ("--target", HOSTILE + "corrupts", "--budget", "8", "--workers", "2", "--json")
    started = start("run", *asked, folder=tmp_path)
    written_to(tmp_path / "hicache-findings/conservation-1.jsonl")
    psutil.Process(started.pid).children()[0].kill()
    code, out, _ = end(started)
    report = json.loads(out)
    assert code == 1
    assert "conservation" in [found["law"] for found in report["divergences"]]
    assert report["verdict"] == "diverged"


def test_interrupted_it_says_how_to_go_on_and_ends_as_it_would_have(tmp_path: Path) -> None:
    asked = ("--target", HOSTILE + "agrees", "--source-of-operations", "random")
    started = start("run", *asked, "--examples", "400", folder=tmp_path)
    written_to(tmp_path / "hicache-findings/campaign-1.ndjson")
    started.send_signal(signal.SIGINT)
    code, _, err = end(started)
    assert code == 130
    assert err.endswith("hicache-verify: `hicache-verify run --resume hicache-findings` goes on\n")
    code, out, _ = resumed(tmp_path, "hicache-findings", "--json")
    report = json.loads(out)
    assert (code, report["verdict"], report["examples"]) == (0, "agree", 400)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--seed", "1"), "--seed: the campaign in . was begun with another"),
        (("--target", HOSTILE + "agrees"), "--target: the campaign in . was begun with another"),
        (("--write-policy", "all"), "--write-policy: the campaign in . was begun with another"),
        (("--first",), "--first: the campaign in . was begun with another"),
        (("--out", "elsewhere"), "--out: a campaign goes on where it was begun; leave it out"),
        (("--budget", "9"), "--budget: the campaign was begun with --examples and no budget"),
    ],
)
def test_what_contradicts_the_plan_is_a_mistake(
    tmp_path: Path, options: tuple[str, ...], says: str
) -> None:
    told(tmp_path)
    code, out, err = resumed(tmp_path, ".", *options)
    assert (code, out, err) == (2, "", f"hicache-verify: {says}\n")
