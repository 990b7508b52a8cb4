"""What is planted in a source tree of the newest release is found as a user finds it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hicache_impl.sglang.errors import PatchDoesNotApply
from hicache_impl.sglang.source import version_of
from hicache_verify import trace
from tests.fetched import fetched
from tests.planted.bug import BACK, Edit, Planted
from tests.planted.source_tree import source_tree
from tests.planted.test_planted import slow_but
from tests.planted.unified import CORE, RELEASE, UNIFIED
from tests.processes import command

Note = Callable[[str, dict[str, Any]], None]

EXAMPLES = 4000
LONGEST = 8
"""Operations of the longest trace that is left after minimizing."""

QUICK = (
    "host_leaf_asks_whether_a_child_is_on_the_host_alone",
    "checkpoint_keeps_the_old_lock",
)
CACHE = ("--cache", "unified", "--core", "python")


@pytest.fixture(autouse=True)
def release() -> None:
    fetched(RELEASE)


@pytest.mark.parametrize("name", [slow_but(name, QUICK) for name in UNIFIED])
def test_a_bug_in_a_source_tree_is_found(name: str, tmp_path: Path, note: Note) -> None:
    bug = UNIFIED[name]
    tree = source_tree(bug, tmp_path / "tree")
    cell = ("--write-policy", bug.cell.write_policy, "--page-size", str(bug.cell.page_size))
    amount = ("--examples", str(EXAMPLES), "--first", "--workers", "1")
    out = ("--out", str(tmp_path / "found"))
    run = command("run", "--source", str(tree), *CACHE, *cell, *amount, *out, "--json")
    assert run.code == 1, run
    (divergence,) = run.json["divergences"]
    note(name, {"found": True, "law": divergence["law"], **divergence["found_after"]})
    assert divergence["law"] in bug.found_under, divergence
    assert len(trace.read(divergence["trace"]).operations) <= LONGEST
    replay = command("replay", divergence["trace"], *CACHE, "--release", RELEASE, "--json")
    assert replay.code == 0, replay


def test_a_source_tree_differs_from_its_release_in_what_is_edited(tmp_path: Path) -> None:
    bug = UNIFIED["demotion_forgets_the_parent"]
    release, copy = fetched(RELEASE), source_tree(bug, tmp_path / "tree") / "sglang"
    inside = Path("srt", "mem_cache", "unified_cache")
    own = [path.relative_to(copy) for path in copy.rglob("*") if not path.is_symlink()]
    edited = inside / "unified_tree_core.py"
    assert sorted(own) == sorted([*inside.parents[:-1], inside, edited])
    before, after = ((root / edited).read_text().splitlines() for root in (release, copy))
    assert len(before) == len(after) + 1
    assert version_of(copy) == version_of(release)


def test_an_edit_that_fits_more_than_once_is_refused(tmp_path: Path) -> None:
    twice = Edit(CORE, "-        self._update_evictable_leaf_sets(parent)")
    with pytest.raises(PatchDoesNotApply, match="occurs 2 times"):
        source_tree(Planted("twice", BACK, (), (twice,), release=RELEASE), tmp_path / "tree")
