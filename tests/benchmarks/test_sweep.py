"""The sweep over releases: what is kept, what is run again, and the page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from scripts import sweep_releases as sweep

FOUND = {
    "law": "host-leaves",
    "sentence": "The kept set is exactly the evicted leaves.",
    "kind": "law",
    "message": "node [1] is in evictable_host_leaves",
    "exception": None,
    "place": None,
    "operations": 2,
    "minimized": True,
    "resembles": "#19212",
    "configuration": {"device_slots": 2},
    "steps": [{"op": "insert", "tokens": [1]}, {"op": "evict_device", "count": 1}],
}
AGREES = {"verdict": "agree", "operations": 12345, "seconds": 4.0, "divergences": []}
DIVERGES = {"verdict": "diverged", "operations": 77, "seconds": 4.0, "divergences": [FOUND]}


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The commands that were run; 0.5.10.post1 diverges under write_back, all others agree."""
    commands: list[list[str]] = []

    def finish(command: list[str], deadline: float) -> dict[str, Any]:
        commands.append(command)
        return DIVERGES if {"0.5.10.post1", "write_back"} <= set(command) else AGREES

    monkeypatch.setattr(sweep, "finish", finish)
    return commands


def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *options: str) -> str:
    page = tmp_path / "releases.md"
    state = ["--state", str(tmp_path / "sweep.jsonl"), "--page", str(page)]
    arguments = ["sweep", *options, "--budget", "4", *state]
    monkeypatch.setattr("sys.argv", arguments)
    assert sweep.main() == 0
    return page.read_text(encoding="utf-8")


def test_the_page_has_the_table_and_each_distinct_finding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ran: list[list[str]]
) -> None:
    page = run(tmp_path, monkeypatch, "--release", "0.5.10.post1", "0.5.18")
    assert len(ran) == 6
    assert "| 0.5.10.post1 | **host-leaves** (2) | agrees (12,345 operations) |" in page
    assert page.count("### ") == 1
    for words in ("Seen in 0.5.10.post1 (write_back)", "#19212", "1. insert [1]", "device_slots 2"):
        assert words in page
    assert "`python scripts/sweep_releases.py --budget 4 --seed 0`" in page


def test_what_was_run_is_not_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ran: list[list[str]]
) -> None:
    run(tmp_path, monkeypatch, "--release", "0.5.18", "--write-policy", "write_back")
    page = run(tmp_path, monkeypatch, "--release", "0.5.18", "0.5.20")
    assert len(ran) == 6
    assert page == run(tmp_path, monkeypatch, "--page-only")
    assert len(ran) == 6


def test_what_could_not_be_run_is_told_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ran: list[list[str]]
) -> None:
    one = ("--release", "0.5.18", "--write-policy", "write_back")
    with monkeypatch.context() as broken:
        broken.setattr(sweep, "finish", lambda *_: {"verdict": "error", "message": "offline"})
        assert "could not run: offline" in run(tmp_path, monkeypatch, *one)
    assert "agrees (12,345 operations)" in run(tmp_path, monkeypatch, *one)


def test_crashes_at_two_lines_of_one_function_are_one_finding() -> None:
    crash = {**FOUND, "law": "no-crash", "exception": "AssertionError"}
    places = [sweep._identity({**crash, "place": f"cache:evict_host:{n}"}) for n in (863, 871)]
    assert places == [("no-crash", ": AssertionError in cache:evict_host")] * 2


def test_a_run_without_a_report_is_an_error() -> None:
    assert sweep.finish(["true"], 10)["verdict"] == "error"
    assert sweep.finish(["sleep", "5"], 0.1)["message"].startswith("still running")
