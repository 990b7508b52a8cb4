"""``python -m benchmarks`` on the real cache, as small as it gets."""

from __future__ import annotations

import json

import pytest

from benchmarks.__main__ import page
from benchmarks.tables import Column, Table
from tests.fetched import fetched
from tests.processes import python

SMALL = ("--rounds", "1", "--examples", "2", "--nodes", "10", "--memory", "100", "--profile")
SERVING = ("--requests", "10", "--block-tokens", "8")
OF_EACH = ("Speed", "Growth", "Memory", "Where the time goes")


def benchmarks(*options: str) -> str:
    """What it prints on standard output."""
    fetched("0.5.18")
    finished = python("-m", "benchmarks", *options)
    assert finished.code == 0, finished.err
    return finished.out


def test_one_run_gives_all_tables_as_one_object() -> None:
    tables = json.loads(benchmarks(*SMALL, *SERVING, "--json"))["tables"]
    titles = [table["title"].partition(":")[0] for table in tables]
    assert titles == [*OF_EACH, *OF_EACH, "Serving", "Copies"]
    assert [table["title"].split()[1] for table in tables[:9:4]] == ["sglang", "native", "our"]
    speed = {row["name"]: row for row in tables[0]["rows"]}
    assert speed["the target alone"]["ratio"] == 1
    assert all(row["per_second"] > 0 for row in tables[0]["rows"])


def test_both_cores_of_the_unified_cache_are_measured_in_one_run() -> None:
    fetched("0.5.23")
    cores = ("--target", "unified", "--target", "unified-rust")
    tables = json.loads(benchmarks(*SMALL, *cores, "--only", "speed", "--json"))["tables"]
    assert [table["title"].partition(",")[0] for table in tables] == [
        "Speed: sglang-unified 0.5.23",
        "Where the time goes: lockstep on sglang-unified 0.5.23",
        "Speed: sglang-unified-rust 0.5.23",
        "Where the time goes: lockstep on sglang-unified-rust 0.5.23",
    ]


def test_two_caches_are_no_run_of_one_process() -> None:
    finished = python("-m", "benchmarks", "--target", "sglang", "--target", "unified")
    assert finished.code == 2
    assert "a process holds one cache of SGLang" in finished.err


def test_a_page_names_the_command_that_made_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["benchmarks", "--only", "growth", "--markdown"])
    shown = page([Table("Growth", (Column("nodes", "nodes"),), ((10,),))])
    assert "`python -m benchmarks --only growth --markdown`" in shown
    assert "## Growth\n" in shown
