"""The sweep over releases: which cells it has, what is run again, the record, and the page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import attrs
import pytest

from hicache_model.configuration import Configuration
from hicache_model.operations import EvictDevice, FinishRequest, Insert
from hicache_model.snapshot import Node
from hicache_model.snapshot import Path as Path_
from hicache_verify import catalogue, events, trace
from hicache_verify.campaigns.plan import Plan
from hicache_verify.divergence import Divergence, NodePair
from hicache_verify.sweep import matrix, sweeping
from hicache_verify.sweep.matrix import BadReleases, SweepCell, chosen
from hicache_verify.sweep.page import page, verdict
from hicache_verify.sweep.record import (
    AGREES,
    DIVERGES,
    DOES_NOT_LOAD,
    NAME,
    NOT_RUN,
    Asked,
    CellDone,
    Found,
    open_record,
)
from hicache_verify.targets import BadTarget
from hicache_verify.trace import Trace, TraceError
from tests.processes import Ran

KNOWN = ("0.5.9", "0.5.10", "0.5.10.post1", "0.5.21")
ASKED = Asked(4.0, 0)
OLD = SweepCell("0.5.10.post1", "hiradix", None, "write_back")
NEW = SweepCell("0.5.21", "unified", "python", "write_back")
LEAF = Node(Path_(None, (1,)), 1, None, (0,), 0, 0, False, False)
BROKEN_LEAF = Divergence(
    *("law", "host-leaves", "law", "node [1] is broken", 1, EvictDevice(1)),
    nodes=(NodePair(LEAF.path, LEAF, attrs.evolve(LEAF, in_host_leaves=True)),),
    resembles="#19212",
)
FOUND = Found(BROKEN_LEAF, 2, True, "found.jsonl")
BROKEN = CellDone(OLD, "2026-11-26", DIVERGES, 77, 4.0, found=(FOUND,))
FINE = CellDone(NEW, "2026-11-26", AGREES, 12345, 4.0)


# -- which cells -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "releases"),
    [
        (("0.5.9",), ("0.5.9",)),
        (("latest", "0.5.9"), ("0.5.9", "0.5.21")),
        (("0.5.10..latest",), ("0.5.10", "0.5.10.post1", "0.5.21")),
        (("0.5.9..0.5.10", "0.5.10..0.5.10.post1"), ("0.5.9", "0.5.10", "0.5.10.post1")),
    ],
)
def test_releases_are_named_or_ranged(words: tuple[str, ...], releases: tuple[str, ...]) -> None:
    assert chosen(words, KNOWN) == releases


@pytest.mark.parametrize("word", ["0.5.8", "0.5.10..0.5.9", "..", "0.5.9..", "newest", "a..b..c"])
def test_releases_that_there_are_not_are_refused(word: str) -> None:
    with pytest.raises(BadReleases):
        chosen((word,), KNOWN)


def test_without_an_index_and_a_cache_there_is_nothing_to_choose() -> None:
    with pytest.raises(BadReleases, match="cannot be reached"):
        chosen(("latest",), ())


def test_the_matrix_has_tree_cores_for_the_unified_cache_alone() -> None:
    cells = list(matrix.matrix(["0.5.21"], ["hiradix", "unified"], ["python"], ["write_back"]))
    assert cells == [attrs.evolve(NEW, cache="hiradix", core=None), NEW]
    with pytest.raises(BadTarget, match="unknown tree core 'lisp'"):
        list(matrix.matrix(["0.5.21"], ["unified"], ["lisp"], ["write_back"]))


# -- the record ------------------------------------------------------------------------------------


def swept(
    folder: Path, explore: sweeping.Explore, *cells: SweepCell, asked: Asked = ASKED
) -> list[CellDone]:
    record = open_record(folder, asked)
    try:
        return list(sweeping.sweep(cells, record, explore))
    finally:
        record.close()


def never(cell: SweepCell) -> CellDone:
    raise AssertionError(f"{cell} is run again")


def test_what_was_done_is_not_run_again(tmp_path: Path) -> None:
    said = {OLD: BROKEN, NEW: FINE}
    assert swept(tmp_path, said.__getitem__, OLD, NEW) == [BROKEN, FINE]
    assert swept(tmp_path, never, NEW, OLD) == [FINE, BROKEN]


def test_what_is_told_again_resembles_what_the_catalogue_knows_by_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def alike(done: CellDone) -> list[str | None]:
        return [found.divergence.resembles for found in done.found]

    unknown = attrs.evolve(FOUND, divergence=attrs.evolve(BROKEN_LEAF, resembles=None))
    (first,) = swept(tmp_path, lambda cell: attrs.evolve(BROKEN, found=(unknown,)), OLD)
    assert alike(first) == ["#19212"]
    monkeypatch.setattr(catalogue.resemblance, "ENTRIES", ())
    (again,) = swept(tmp_path, never, OLD)
    assert alike(again) == [None]


def test_what_resembles_a_defect_of_stripped_thoughts_does_so_where_they_are_stripped(
    tmp_path: Path,
) -> None:
    broken = Divergence("law", "single-owner", "law", "slot 1 is lost", 1, FinishRequest(0))
    done = CellDone(NEW, "2026-11-27", DIVERGES, found=(Found(broken, 2, True, "found.jsonl"),))
    for stripped, likeness in ((True, "stripped-silently"), (False, None)):
        asked = attrs.evolve(ASKED, strip_thinking=stripped)
        (told,) = swept(tmp_path / f"{stripped}", lambda cell: done, NEW, asked=asked)
        assert told.found[0].divergence.resembles == likeness


def test_a_finding_comes_back_from_the_record_as_it_was(tmp_path: Path) -> None:
    swept(tmp_path, lambda cell: BROKEN, OLD)
    record = open_record(tmp_path, ASKED)
    record.close()
    assert record.cells == {OLD: BROKEN}


def test_what_could_not_be_run_is_tried_again(tmp_path: Path) -> None:
    offline = CellDone(NEW, "2026-11-26", NOT_RUN, problem="offline")
    assert swept(tmp_path, lambda cell: offline, NEW) == [offline]
    assert swept(tmp_path, lambda cell: FINE, NEW) == [FINE]
    assert swept(tmp_path, never, NEW) == [FINE]


def test_a_cell_that_was_interrupted_is_run_again(tmp_path: Path) -> None:
    def interrupted(cell: SweepCell) -> CellDone:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        swept(tmp_path, interrupted, OLD)
    assert swept(tmp_path, lambda cell: BROKEN, OLD) == [BROKEN]


NO_PAIRS = b'"bigram": false, "strip_thinking": false}}'


def test_a_line_that_was_cut_short_is_as_good_as_not_written(tmp_path: Path) -> None:
    swept(tmp_path, lambda cell: FINE, NEW)
    whole = (tmp_path / NAME).read_bytes()
    (tmp_path / NAME).write_bytes(whole + b'{"cell": {"ce')
    assert swept(tmp_path, never, NEW) == [FINE]
    assert (tmp_path / NAME).read_bytes() == whole


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"[]", "not a line of a sweep"),
        (b"{", "not JSON"),
        (
            b'{"sweep": {"budget": 4, "seed": 0, "format": 1, "component": "", "page_sizes": [], '
            + NO_PAIRS,
            "format 1 is not known",
        ),
        (b'{"sweep": {"budget": NaN, "seed": 0, "format": 1}}', "NaN"),
        (b'{"sweep": {"budget": 4.0, "format": 1}}', "expected an object with"),
    ],
)
def test_a_record_is_strict(tmp_path: Path, line: bytes, message: str) -> None:
    (tmp_path / NAME).write_bytes(line + b"\n")
    with pytest.raises(TraceError, match=message):
        open_record(tmp_path, ASKED)


def test_a_record_is_of_one_sweep_at_a_time(tmp_path: Path) -> None:
    record = open_record(tmp_path, ASKED)
    with pytest.raises(TraceError, match="still running"):
        open_record(tmp_path, ASKED)
    record.close()


# -- what became of a cell -------------------------------------------------------------------------


def finished(verdict: str, problem: str | None = None) -> events.CampaignFinished:
    return events.CampaignFinished(verdict, 0, 0, 0.0, (), problem=problem)


@pytest.mark.parametrize(
    ("said", "opened", "verdict"),
    [
        (finished(events.AGREE), True, AGREES),
        (finished(events.ERROR, "ships no such cache"), False, DOES_NOT_LOAD),
        (finished(events.ERROR, "no example was run"), True, NOT_RUN),
    ],
)
def test_a_target_that_was_opened_has_loaded(
    said: events.CampaignFinished, opened: bool, verdict: str
) -> None:
    assert sweeping._verdict(said, opened) == verdict


def test_a_release_that_cannot_be_had_is_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeping, "_cannot_be_had", lambda release: "offline")
    done = sweeping.Campaigns(tmp_path, ASKED, workers=1)(NEW)
    assert (done.verdict, done.problem) == (NOT_RUN, "offline")


def test_a_problem_is_told_without_the_place_of_our_copy() -> None:
    told = sweeping._without_folders("/some/where/tree/sglang ships\n no HiRadixCache")
    assert told == "sglang ships no HiRadixCache"


# -- the page --------------------------------------------------------------------------------------


def write_trace(folder: Path) -> None:
    told = Trace(Configuration(device_slots=2), "sglang", "0.5.9", (Insert((1,)), EvictDevice(1)))
    trace.write(folder / "found.jsonl", told)


def test_the_page_has_the_table_and_each_distinct_finding(tmp_path: Path) -> None:
    write_trace(tmp_path)
    older = attrs.evolve(BROKEN, cell=attrs.evolve(OLD, release="0.5.9"))
    text = page([older, BROKEN, FINE], ASKED, "the command", tmp_path)
    assert "`the command`" in text
    assert "| 0.5.10.post1 | HiRadixCache |  | **host-leaves** (2) | 2026-11-26 |" in text
    assert "| 0.5.21 | UnifiedRadixCache | python | agrees (12,345 operations) |" in text
    assert text.count("### ") == 1
    for words in ("Seen in 0.5.9 (write_back); 0.5.10", "#19212", "1. insert [1]", "GPU 2 slots"):
        assert words in text


def test_crashes_at_two_lines_of_one_function_are_one_finding(tmp_path: Path) -> None:
    write_trace(tmp_path)
    crash = attrs.evolve(BROKEN_LEAF, law="no-crash", exception="AssertionError")
    crashes = [attrs.evolve(crash, place=f"cache:evict_host:{n}") for n in (863, 871)]
    places = [attrs.evolve(FOUND, divergence=crash) for crash in crashes]
    text = page([attrs.evolve(BROKEN, found=tuple(places))], ASKED, "the command", tmp_path)
    assert text.count("### ") == 1
    assert "### HiRadixCache: no-crash: AssertionError in cache:evict_host" in text


def test_a_finding_whose_trace_is_gone_is_told_as_such(tmp_path: Path) -> None:
    with pytest.raises(TraceError):
        page([BROKEN], ASKED, "the command", tmp_path)
    bare = attrs.evolve(BROKEN, found=(attrs.evolve(FOUND, trace=None),))
    assert "its trace could not be written" in page([bare], ASKED, "the command", tmp_path)


def test_the_table_says_why_and_leaves_the_advice_out() -> None:
    done = CellDone(NEW, "2026-11-26", DOES_NOT_LOAD, problem="ships no such | cache; try another")
    assert verdict(done) == "does not load: ships no such \\| cache"


# -- the command -----------------------------------------------------------------------------------


@pytest.fixture
def sweep(cli: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs it with what becomes of every cell."""
    monkeypatch.setattr(matrix, "known_releases", lambda: KNOWN)

    def call(become: CellDone, *arguments: str) -> Ran:
        def explore(self: sweeping.Campaigns, cell: SweepCell) -> CellDone:
            return attrs.evolve(become, cell=cell)

        monkeypatch.setattr(sweeping.Campaigns, "__call__", explore)
        ran: Ran = cli("sweep", "--releases", "latest", "--cache", "unified", *arguments)
        return ran

    return call


@pytest.mark.parametrize(
    ("verdict", "code"), [(AGREES, 0), (DOES_NOT_LOAD, 0), (DIVERGES, 1), (NOT_RUN, 2)]
)
def test_the_exit_code_says_what_was_found(sweep: Any, verdict: str, code: int) -> None:
    assert sweep(attrs.evolve(FINE, verdict=verdict, problem="why")).code == code


def test_a_line_for_each_cell_and_a_page(sweep: Any, tmp_path: Path) -> None:
    code, out, err = sweep(FINE, "--markdown", "page.md")
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        f"0.5.21 UnifiedRadixCache python {policy}: agrees (12,345 operations)"
        for policy in ("write_back", "write_through", "write_through_selective")
    ]
    text = (tmp_path / "page.md").read_text(encoding="utf-8")
    assert "`hicache-verify sweep --releases latest --cache unified --core python" in text


def test_page_sizes_are_of_all_cells_and_on_the_page(sweep: Any, tmp_path: Path) -> None:
    sizes = ("--page-size", "2,4", "--component", "mamba")
    assert sweep(FINE, *sizes, "--markdown", "page.md").code == 0
    text = (tmp_path / "page.md").read_text(encoding="utf-8")
    assert text.startswith("# Releases with Mamba states, pages of 2 and 4 tokens\n")
    assert "--page-size 2,4 --component mamba" in text
    code, _, err = sweep(FINE)
    assert code == 2
    assert "--seed 0 --page-size 2,4 --component mamba; give these" in err


def test_keys_of_pairs_are_of_all_cells_and_on_the_page(sweep: Any, tmp_path: Path) -> None:
    assert sweep(FINE, "--bigram", "--markdown", "page.md").code == 0
    text = (tmp_path / "page.md").read_text(encoding="utf-8")
    assert text.startswith("# Releases, keys of pairs\n")
    assert "--bigram --budget" in text
    code, _, err = sweep(FINE)
    assert code == 2
    assert "--seed 0 --bigram; give these" in err


def test_stripped_thoughts_are_of_all_cells_and_on_the_page(sweep: Any, tmp_path: Path) -> None:
    assert sweep(FINE, "--strip-thinking", "--markdown", "page.md").code == 0
    text = (tmp_path / "page.md").read_text(encoding="utf-8")
    assert text.startswith("# Releases, thoughts stripped\n")
    assert "--strip-thinking --budget" in text
    code, _, err = sweep(FINE)
    assert code == 2
    assert "--seed 0 --strip-thinking; give these" in err


def test_each_cell_is_explored_with_all_page_sizes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plans: list[Plan] = []

    class Noting:
        def __init__(self, plan: Plan, *_: Any) -> None:
            plans.append(plan)

        def run(self) -> events.CampaignFinished:
            return finished(events.AGREE)

    monkeypatch.setattr(sweeping, "Campaign", Noting)
    monkeypatch.setattr(sweeping, "_cannot_be_had", lambda release: None)
    asked = attrs.evolve(ASKED, page_sizes=(2, 4), bigram=True, strip_thinking=True)
    sweeping.Campaigns(tmp_path, asked, workers=1)(NEW)
    assert [plan.selection.page_sizes for plan in plans] == [(2, 4)]
    assert all(plan.selection.bigram and plan.selection.strip_thinking for plan in plans)


def test_json_is_one_object_and_nothing_else(sweep: Any) -> None:
    code, out, err = sweep(FINE, "--write-policy", "write_back", "--json")
    data = json.loads(out)
    assert (code, data["budget"], len(data["cells"])) == (0, 20.0, 1)
    assert data["cells"][0]["cell"]["release"] == "0.5.21"
    assert "agrees" in err


def test_an_interrupted_sweep_tells_what_it_has_and_writes_no_page(
    sweep: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: Any) -> Any:
        yield FINE
        raise KeyboardInterrupt

    monkeypatch.setattr(sweeping, "sweep", interrupted)
    code, out, err = sweep(FINE, "--json", "--markdown", "page.md")
    assert (code, len(json.loads(out)["cells"])) == (130, 1)
    assert "the same command goes on" in err
    assert not (tmp_path / "page.md").exists()


def test_another_budget_needs_another_folder(sweep: Any) -> None:
    assert sweep(FINE).code == 0
    code, _, err = sweep(FINE, "--budget", "5")
    assert code == 2
    assert "was begun with --budget 20 --seed 0" in err


def test_an_out_that_is_a_file_is_refused(sweep: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    code, _, err = sweep(FINE, "--out", "file")
    assert code == 2
    assert "--out" in err


def test_resume_refuses_a_folder_without_a_record(sweep: Any) -> None:
    assert sweep(FINE, "--resume").code == 2
    assert sweep(FINE).code == 0
    assert sweep(FINE, "--resume").code == 0


@pytest.mark.parametrize(
    "wrong", [("--releases", "0.4.0"), ("--core", "lisp"), ("--write-policy", "never")]
)
def test_what_nobody_knows_is_refused_before_anything_runs(
    sweep: Any, tmp_path: Path, wrong: tuple[str, str]
) -> None:
    code, out, err = sweep(FINE, *wrong)
    assert (code, out) == (2, "")
    assert wrong[1] in err
    assert list(tmp_path.iterdir()) == []
