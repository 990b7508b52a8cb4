"""Both tree cores of one release in one process, side by side with the model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hicache_impl.sglang.releases import KNOWN_UNIFIED
from hicache_impl.sglang.unified import rust
from hicache_model.configuration import Configuration
from hicache_model.operations import (
    CompleteLoads,
    EvictDevice,
    EvictHost,
    Insert,
    LoadBack,
    Match,
    StartLoads,
)
from hicache_verify.trace import Trace, read, write
from tests.fetched import fetched
from tests.planted.source_tree import source_tree
from tests.planted.unified import RELEASE, UNIFIED
from tests.processes import command, python
from tests.sglang.test_unified_rust import on_its_python

TARGET = "sglang-unified-both"
RELEASES = [v for v in KNOWN_UNIFIED if v in rust.LOOKED_INTO]


def ran(folder: Path, *arguments: str) -> tuple[int, dict[str, Any]]:
    """The exit code, and what ``--json`` prints."""
    done = command(*arguments, "--json", folder=folder)
    assert done.out, done.err
    return done.code, done.json


FEW = ("--source-of-operations", "random", "--workers", "1")


@on_its_python
@pytest.mark.parametrize("version", RELEASES)
def test_all_three_agree_and_what_rust_does_not_show_is_named(version: str, tmp_path: Path) -> None:
    fetched(version)
    asked = ("--release", version, "--cache", "unified", "--core", "both", "--page-size", "1,4")
    code, told = ran(tmp_path, "run", *asked, "--write-policy", "all", "--examples", "6", *FEW)
    assert (code, told["verdict"], told["target"]) == (0, "agree", TARGET)
    assert told["unobserved_by_core"] == {"python": [], "rust": list(rust.NOT_SHOWN)}


HOST_COPY_STAYS = (
    *(Insert((1, 2)), Match((1,)), Insert((3,)), EvictDevice(3), LoadBack((1, 2)), StartLoads()),
    *(CompleteLoads(1), Insert((3,)), EvictDevice(1), EvictHost(1)),
)
"""The Rust core of 0.5.20 frees another host copy than the Python core and the model."""


@on_its_python
def test_the_rust_core_of_0_5_20_stands_alone(tmp_path: Path) -> None:
    """As found, then minimized, then played again; the next release agrees."""
    fetched("0.5.20")
    fetched("0.5.21")
    found, least = tmp_path / "found.jsonl", tmp_path / "least.jsonl"
    small = Configuration(device_slots=3, host_slots=3)
    write(found, Trace(small, TARGET, "0.5.20", (Match((9,)), *HOST_COPY_STAYS, Match((1,)))))
    code, told = ran(tmp_path, "minimize", str(found), "--out", str(least))
    assert (code, told["stands_alone"]) == (0, "rust")
    assert len(read(least).operations) <= len(HOST_COPY_STAYS)
    for trace in (found, least):
        code, told = ran(tmp_path, "replay", str(trace))
        assert (code, told["core"], told["stands_alone"]) == (1, "rust", "rust")
        assert told["message"].startswith("the Rust core: ")
    assert ran(tmp_path, "replay", str(least), "--release", "0.5.21")[0] == 0


@on_its_python
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("host_leaf_asks_whether_a_child_is_on_the_host_alone", "python"),
        ("complete_load_keeps_its_pin", "model"),
    ],
)
def test_a_line_changed_in_a_source_tree_names_who_has_it(
    name: str, expected: str, tmp_path: Path
) -> None:
    """A line of the Python core, and one of the cache around it, which both cores share."""
    fetched(RELEASE)
    bug = UNIFIED[name]
    tree = source_tree(bug, tmp_path / "tree")
    asked = ("--source", str(tree), "--core", "both", "--write-policy", bug.cell.write_policy)
    code, told = ran(tmp_path, "run", *asked, "--examples", "400", "--first", *FEW)
    (found,) = told["divergences"]
    assert (code, found["stands_alone"]) == (1, expected), found
    code, again = ran(tmp_path, "replay", found["trace"], "--source", str(tree))
    assert (code, again["stands_alone"]) == (1, expected)


UNDISTURBED = """
import sys
from random import Random
from hicache_verify.campaigns.cells import Cell
from hicache_verify.menu import RandomChooser
from hicache_verify.side_by_side import in_lockstep
from hicache_verify.sources.examples import draw_plan
from hicache_verify.targets import TargetSpec, open_factory
core = sys.argv[2]
factory = open_factory(TargetSpec(release=sys.argv[1], core=core))
for policy in ("write_back", "write_through"):
    for number in range(6):
        chooser = RandomChooser(Random(f"{policy}/{number}"))
        plan = draw_plan(Cell(policy, 1, "lru"), factory.description, chooser)
        lockstep = in_lockstep(factory, plan.configuration, exact=True)
        menu = plan.menu(lockstep.model)
        for _ in range(plan.length):
            operation = menu.draw(chooser)
            if operation is not None:
                assert lockstep.step(operation) is None, operation
                print(operation, lockstep.outcome, lockstep.shown()[0])
"""


@on_its_python
def test_a_core_does_beside_the_other_exactly_what_it_does_alone() -> None:
    """Clocks and slots too: what the process counts is its own at each turn."""
    fetched(RELEASE)
    alone, beside = (python("-c", UNDISTURBED, RELEASE, core) for core in ("python", "both"))
    assert alone.code == 0, alone.err
    assert beside.out.splitlines() == alone.out.splitlines(), beside.err
    assert alone.out.count("\n") > 100


def test_where_the_rust_core_is_missing_nothing_runs_under_that_name(tmp_path: Path) -> None:
    asked = ("--cache", "unified", "--core", "both", "--release", "0.5.18")
    assert command("doctor", *asked).code == 2
    for done in (
        command("run", *asked, "--examples", "1", folder=tmp_path),
        command("explore", *asked, "--depth", "1", folder=tmp_path),
    ):
        assert (done.code, done.out) == (2, "")
        (line,) = done.err.splitlines()
        if "cannot be reached" not in line:
            assert "the Rust tree core of sglang 0.5.18 cannot be loaded" in line
