"""Each defect of the catalogue has a test for SGLang's own folder, which fails where it is."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from hicache_impl.sglang.releases import HIRADIX, UNIFIED
from hicache_verify.catalogue import ENTRIES, Entry
from hicache_verify.catalogue.entry import NamedTrace, SourcePatch
from hicache_verify.catalogue.events import DIVERGED, Run, TraceDone
from hicache_verify.catalogue.files import by_hand
from hicache_verify.catalogue.reproduce import play, runs
from hicache_verify.catalogue.untraced import UNTRACED, Untraced
from hicache_verify.divergence import Divergence
from hicache_verify.report.pytest_files import upstream_file
from hicache_verify.targets import SGLANG
from hicache_verify.workers.executor import LocalExecutor
from hicache_verify.workers.watch import Limits
from tests.fetched import fetched
from tests.processes import Ran
from tests.verify.upstream_child import run_upstream

UNTESTED = {
    "unawaited-load",
    "unawaited-load-rust",
    "stripped-silently",
    "stripped-silently-rust",
    "stripped-silently-hiradix",
}
"""The mistake is the scheduler's, and the calls of the cache's classes show nothing of it; or it is
in old releases alone, and another entry has a test for the newest.
"""


def test_an_entry_without_a_test_says_why() -> None:
    without = [entry for entry in ENTRIES if entry.untested is not None]
    assert {entry.identifier for entry in without} == UNTESTED
    for entry in without:
        assert entry.untested is not None
        assert entry.untested.endswith(".")
        assert entry.upstream_test is None
        for named in entry.traces:
            told = named.trace(entry.target, entry.shown_on[0])
            text = " ".join(upstream_file(told, None, "x").replace("#", " ").split())
            assert "no form in plain calls: this test stops before" in text


def cache_of(target: str) -> str:
    return HIRADIX if target == SGLANG else UNIFIED


def all_runs(entries: Iterable[Entry]) -> list[Run]:
    return [run for entry in entries for run in runs(entry, every_release=True)]


BY_HAND = {entry.upstream_test: entry for entry in reversed(ENTRIES) if entry.upstream_test}
"""One entry for each file, as a file tests both cores."""

FROM_TRACES = [e for e in ENTRIES if e.untested is None and e.upstream_test is None]


def name_of(run: Run) -> str:
    return f"{run.entry.identifier}-{run.release}{'-patched' * run.patched}"


def run_written(text: str, run: Run, folder: Path) -> Ran:
    """The test in a process that has loaded the release, with the patch where the run has it."""
    patch = run.entry.patch_of(run.release) if run.patched else None
    target, fails = run.entry.target, run.should == DIVERGED
    return ends(text, folder, run.release, target, patch, fails=fails)


def ends(
    text: str, folder: Path, release: str, target: str, patch: SourcePatch | None, *, fails: bool
) -> Ran:
    """Run the test and see that it fails, all of it, or passes, as is due."""
    path = folder / "test_it.py"
    path.write_text(text)
    ran = run_upstream(path, release, cache_of(target), patch)
    assert ran.code == fails, ran.out + ran.err
    totals = ran.out.splitlines()[-1]
    assert ("failed" in totals, "passed" in totals) == (fails, not fails)
    return ran


def errors(ran: Ran) -> list[str]:
    return [line for line in ran.out.splitlines() if line.startswith("E ")]


@pytest.mark.parametrize(
    "run",
    [
        run if run.release in run.entry.shown_on else pytest.param(run, marks=pytest.mark.slow)
        for run in all_runs(BY_HAND.values())
    ],
    ids=name_of,
)
def test_one_written_by_hand_fails_where_the_defect_is_and_passes_elsewhere(
    run: Run, tmp_path: Path
) -> None:
    assert run.entry.upstream_test is not None
    ran = run_written(by_hand(run.entry.upstream_test), run, tmp_path)
    raised = {kind for line in errors(ran) for kind in re.findall(r"^E +(\w+(?:\.\w+)*):", line)}
    assert raised == ({"AssertionError"} if run.should == DIVERGED else set())


def untraced() -> Iterator[Any]:
    """Each on its newest release; the others are slow."""
    for defect in UNTRACED:
        *older, _ = defect.affected
        for release in defect.affected:
            marks = pytest.mark.slow if release in older else ()
            yield pytest.param(defect, release, id=f"{defect.identifier}-{release}", marks=marks)


@pytest.mark.parametrize("patched", [False, True], ids=["as it is", "patched"])
@pytest.mark.parametrize(("defect", "release"), list(untraced()))
def test_one_of_a_defect_without_a_trace_fails_until_it_is_mended(
    defect: Untraced, release: str, patched: bool, tmp_path: Path
) -> None:
    patch = defect.patch if patched else None
    text, target = by_hand(defect.upstream_test), defect.targets[0]
    ends(text, tmp_path, release, target, patch, fails=not patched)


@cache
def shown(entry: Entry, release: str) -> Mapping[str, Divergence]:
    """What each trace of the entry shows on an affected release, if it is this defect."""
    fetched(release)
    limits = Limits()
    run = Run(entry, release, patched=False)
    events = play(run, LocalExecutor(limits), limits)
    done = [event for event in events if isinstance(event, TraceDone)]
    return {e.trace.name: e.divergence for e in done if e.divergence is not None and e.as_expected}


def written(run: Run, named: NamedTrace) -> tuple[str, Divergence]:
    """The test of a trace for this release; where the defect is not, from where it shows."""
    entry, release = run.entry, run.release
    affected = release if release in entry.affected else entry.shown_on[0]
    divergence = shown(entry, affected)[named.name]
    return upstream_file(named.trace(entry.target, release), divergence, "it"), divergence


@pytest.mark.slow
@pytest.mark.parametrize("run", all_runs(FROM_TRACES), ids=name_of)
def test_one_written_from_a_trace_fails_where_the_defect_is_and_passes_elsewhere(
    run: Run, tmp_path: Path
) -> None:
    for named in run.entry.traces_of(run.release):
        text, divergence = written(run, named)
        ran = run_written(text, run, tmp_path)
        if run.should == DIVERGED:
            assert (divergence.exception or "AssertionError") in "".join(errors(ran))
