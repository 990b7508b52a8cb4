from __future__ import annotations

import io
import json
from pathlib import Path

import attrs
import pytest
from rich.console import Console

from hicache_impl.target import Description
from hicache_model import snapshot
from hicache_model.configuration import Configuration
from hicache_model.operations import EvictDevice, Insert
from hicache_verify import events, trace
from hicache_verify.campaigns.cells import Cell
from hicache_verify.divergence import Divergence, NodePair
from hicache_verify.findings import Finding, FoundAfter
from hicache_verify.report import files as files_module
from hicache_verify.report.files import Files
from hicache_verify.report.json_report import JsonReport
from hicache_verify.report.progress import Progress
from hicache_verify.report.terminal import Terminal
from hicache_verify.targets import TargetSpec
from hicache_verify.workers.messages import Case
from tests.verify.snapshots import pinned

CELLS = (Cell("write_back", 1, "lru"), Cell("write_through", 1, "lru"))
TARGET = Description("sglang", "0.5.10.post1", "its wheel", ("lru",))
STARTED = events.CampaignStarted(
    target=TARGET,
    spec=TargetSpec(release="0.5.10.post1"),
    cells=CELLS,
    left_out=("slru",),
    seed=7,
    examples=None,
    budget=60.0,
    versions=(("python", "3.11.7"),),
    seconds=2.0,
)


def node(tokens: tuple[int, ...], *, leaf: bool) -> snapshot.Node:
    path = snapshot.Path(None, tokens)
    return snapshot.Node(path, 1, None, (len(tokens),), 0, 0, False, leaf)


HOST_LEAVES = Finding(
    number=1,
    cell=CELLS[0],
    source="random",
    seed=7,
    divergence=Divergence(
        kind="law",
        law="host-leaves",
        oracle="law",
        message="node [1] is in evictable_host_leaves, but its child [1, 2] is still backed up",
        step=3,
        operation=EvictDevice(2),
        nodes=(
            NodePair(snapshot.Path(None, (1,)), node((1,), leaf=False), node((1,), leaf=True)),
            NodePair(snapshot.Path(None, (1, 2)), node((1, 2), leaf=True), node((1, 2), leaf=True)),
        ),
        resembles="#19212",
    ),
    case=Case(
        Configuration(),
        (Insert((1,)), EvictDevice(1), Insert((1, 2)), EvictDevice(2)),
    ),
    found_after=FoundAfter(26, 701, 8.31),
    minimized=True,
)
LONGER = attrs.evolve(
    HOST_LEAVES,
    case=attrs.evolve(HOST_LEAVES.case, operations=(Insert((7,)), *HOST_LEAVES.case.operations)),
)
CRASH = Finding(
    number=2,
    cell=CELLS[1],
    source="hypothesis",
    seed=7,
    divergence=Divergence(
        kind="crash",
        law="no-crash",
        oracle="engine",
        message="the target raised AssertionError while doing it",
        step=39,
        operation=EvictDevice(1),
        place="sglang.srt.mem_cache.hiradix_cache:evict:819",
        exception="AssertionError",
    ),
    case=Case(
        Configuration(write_policy="write_through", device_slots=4, host_slots=5),
        (*(Insert((n, n + 1)) for n in range(39)), EvictDevice(1)),
    ),
    found_after=FoundAfter(1237, 15_772, 17.4),
)
FINISHED = events.CampaignFinished(
    verdict=events.DIVERGED,
    examples=2200,
    operations=61_003,
    seconds=62.04,
    findings=(attrs.evolve(HOST_LEAVES, repeats=34), CRASH),
)
DIVERGED = (
    events.TargetOpening(STARTED.spec),
    STARTED,
    events.CellStarted(CELLS[0], 1, 2),
    events.Progress(CELLS[0], "random", 9.0, 30, 800, False),
    events.FindingFound(HOST_LEAVES),
    events.FindingSettled(LONGER),
    events.FindingSettled(HOST_LEAVES),
    events.CellFinished(CELLS[0], 1000, 30_000, 30.0, ("host-leaves",)),
    events.CellStarted(CELLS[1], 2, 2),
    events.FindingFound(CRASH),
    events.FindingSettled(CRASH),
    events.WorkerLost("its process ended between two operations (SIGKILL)", None),
    events.CellFinished(
        CELLS[1], 1200, 31_003, 30.0, ("no-crash",), "no-death has ended 3 workers"
    ),
    FINISHED,
)
AGREED = (
    events.TargetOpening(STARTED.spec),
    attrs.evolve(STARTED, cells=CELLS[:1], left_out=(), budget=None, examples=500),
    events.CellStarted(CELLS[0], 1, 1),
    events.CellFinished(CELLS[0], 500, 14_000, 7.0, ()),
    events.CampaignFinished(events.AGREE, 500, 14_000, 7.02, ()),
)
INTERRUPTED = (
    *AGREED[:3],
    events.CampaignFinished(events.ERROR, 120, 3_000, 2.0, (), interrupted=True),
)


def path_of(finding: Finding) -> Path | None:
    return Path(f"hicache-findings/{finding.divergence.law}-1.jsonl")


def test_both_reports_say_what_a_target_does_not_show() -> None:
    target = attrs.evolve(TARGET, unobserved=("leaf sets", "host pins"))
    happened = (AGREED[0], attrs.evolve(AGREED[1], target=target), *AGREED[2:])
    said = "not compared, because this target does not show it: leaf sets, host pins"
    assert terminal_text(happened).splitlines()[1] == said
    assert json_report(happened)["unobserved"] == ["leaf sets", "host pins"]


def terminal_text(happened: tuple[events.Event, ...], width: int = 100) -> str:
    out = io.StringIO()
    report = Terminal(Console(file=out, width=width, soft_wrap=True, highlight=False), path_of)
    for event in happened:
        report(event)
    return out.getvalue()


@pytest.mark.parametrize(
    ("name", "happened"),
    [("diverged", DIVERGED), ("agreed", AGREED), ("interrupted", INTERRUPTED)],
)
def test_the_terminal_report_reads_as_pinned(name: str, happened: tuple[events.Event, ...]) -> None:
    text = terminal_text(happened)
    assert text == pinned(f"terminal-{name}.txt", text)


def test_no_line_of_a_finding_is_wider_than_the_terminal() -> None:
    text = terminal_text((STARTED, FINISHED), width=80)
    assert max(map(len, text.splitlines()[3:])) <= 80


def test_colours_are_for_terminals_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    out = io.StringIO()
    report = Terminal(Console(file=out, force_terminal=True, color_system="standard"), path_of)
    for event in DIVERGED:
        report(event)
    assert "\x1b[" in out.getvalue()
    assert "\x1b[" not in terminal_text(DIVERGED)


def test_progress_is_silent_where_nobody_looks() -> None:
    out = io.StringIO()
    progress = Progress(Console(file=out))
    for event in DIVERGED:
        progress(event)
    assert out.getvalue() == ""


def test_progress_leaves_nothing_behind_on_a_terminal() -> None:
    out = io.StringIO()
    progress = Progress(Console(file=out, force_terminal=True, width=100))
    for event in DIVERGED:
        progress(event)
    assert "opening sglang 0.5.10.post1" in out.getvalue()
    assert out.getvalue().rstrip().endswith("\x1b[2K")  # the line is erased


def json_report(happened: tuple[events.Event, ...]) -> dict[str, object]:
    out = io.StringIO()
    report = JsonReport(out, path_of)
    for event in happened:
        report(event)
    (line,) = out.getvalue().splitlines()
    found: dict[str, object] = json.loads(line)
    return found


def test_the_json_report_is_one_object_with_what_gates_rely_on() -> None:
    text = json.dumps(json_report(DIVERGED), indent=2) + "\n"
    assert text == pinned("report-diverged.json", text)


def test_a_run_that_could_not_begin_is_an_object_too() -> None:
    failed = events.CampaignFinished(events.ERROR, 0, 0, 0.5, (), problem="no such release")
    report = json_report((events.TargetOpening(STARTED.spec), failed))
    assert (report["verdict"], report["message"]) == ("error", "no such release")
    assert (report["target"], report["release"]) == ("sglang", "0.5.10.post1")


def written(folder: Path, *happened: events.Event) -> Files:
    files = Files(folder)
    for event in (STARTED, *happened):
        files(event)
    return files


def test_a_finding_is_written_as_trace_listing_and_tests(tmp_path: Path) -> None:
    settled = attrs.evolve(HOST_LEAVES, minimized=True)
    files = written(tmp_path, events.FindingFound(HOST_LEAVES), events.FindingSettled(settled))
    path = files.path(HOST_LEAVES)
    assert path == tmp_path / "host-leaves-1.jsonl"
    read = trace.read(path)
    assert read.operations == HOST_LEAVES.case.operations
    assert read.provenance["law"] == "host-leaves"
    assert read.provenance["minimized"] is True
    names = {path.name for path in tmp_path.iterdir()}
    assert {"host-leaves-1.txt", "test_host_leaves_1_replay.py"} < names
    assert files.problems == {}


def test_nothing_that_was_there_is_overwritten(tmp_path: Path) -> None:
    written(tmp_path, events.FindingFound(HOST_LEAVES))
    files = written(tmp_path, events.FindingFound(HOST_LEAVES))
    assert files.path(HOST_LEAVES) == tmp_path / "host-leaves-2.jsonl"


def test_a_report_that_cannot_be_written_does_not_lose_the_trace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(files_module.Files, "_write_listing", fail)
    found = events.FindingFound(HOST_LEAVES), events.FindingSettled(HOST_LEAVES)
    files = written(tmp_path, *found)
    assert files.path(HOST_LEAVES) is not None
    assert "the disk is full" in files.problems[1]


def test_a_trace_that_cannot_be_written_has_no_path(tmp_path: Path) -> None:
    place = tmp_path / "a file"
    place.write_text("")
    files = written(place, events.FindingFound(HOST_LEAVES))
    assert files.path(HOST_LEAVES) is None
    assert files.problems
