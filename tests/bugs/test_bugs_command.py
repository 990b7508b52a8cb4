"""``hicache-verify bugs``, and ``--bug`` of the commands that run a target."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hicache_impl.bugs import BANK
from hicache_verify.cli import main

BUG = "eviction-reports-nothing"
OTHER = "demoted-tokens-stay-counted"


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Runs a command in this process, in a folder of its own: exit code, output, errors."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(list(arguments))
        assert isinstance(ended.value.code, int)
        return ended.value.code, *capsys.readouterr()

    return call


def test_the_bugs_that_are_named_are_looked_for(run: Any) -> None:
    code, out, _ = run("bugs", BUG, OTHER, "--json")
    report = json.loads(out)
    assert code == 0
    assert [found["id"] for found in report["bugs"]] == [BUG, OTHER]
    for found in report["bugs"]:
        assert found["found"] is True
        assert found["law"] == found["found_under"] == BANK[found["id"]].law
        assert found["operations"] > 0 < found["seconds"]
        assert found["trace_length"] >= BANK[found["id"]].length


def test_the_table_says_law_effort_and_length(run: Any) -> None:
    code, out, err = run("bugs", BUG)
    assert code == 0
    assert "1 of 1 planted bugs are found" in out
    assert "progress" in out
    assert BUG in err


def test_a_bug_that_is_not_found_is_a_failure(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hicache_verify.campaigns.planted.Selection", lambda *cell: _blind())
    code, out, _ = run("bugs", "host-leaf-asks-evicted", "--budget", "0.5", "--json")
    assert code == 1
    (found,) = json.loads(out)["bugs"]
    assert found["found"] is False
    assert "is not found" in found["message"]


def _blind() -> Any:
    """Under write_through nothing of it shows."""
    from hicache_verify.campaigns.cells import Selection

    return Selection(("write_through",))


def test_a_bug_that_is_found_under_another_law_is_a_failure(
    run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import attrs

    wrong = attrs.evolve(BANK[BUG], law="bytes")
    monkeypatch.setattr("hicache_impl.bugs.find", lambda identifier: wrong)
    code, out, _ = run("bugs", BUG)
    assert code == 1
    assert f"{BUG} is found under progress, and says that it breaks bytes" in out


def test_the_list_names_every_bug(run: Any) -> None:
    code, out, _ = run("bugs", "--list", "--json")
    assert code == 0
    assert [bug["id"] for bug in json.loads(out)["bugs"]] == list(BANK)
    assert all(bug.identifier in run("bugs", "--list")[1] for bug in BANK.values())


def test_an_unknown_bug_is_one_line_with_close_matches(run: Any) -> None:
    for command in (("bugs", "reset-forgets"), ("run", "--target", "native", "--bug", "reset-f")):
        code, _, err = run(*command)
        assert code == 2
        assert len(err.splitlines()) == 1
        assert "unknown bug" in err
    assert "reset-keeps-the-host" in run("bugs", "reset-keeps-host")[2]


def test_a_bug_goes_into_our_own_cache_only(run: Any) -> None:
    code, _, err = run("run", "--bug", BUG)
    assert code == 2
    assert "--target native" in err


def test_run_replay_and_minimize_know_the_bug_again(run: Any) -> None:
    code, out, _ = run("run", "--target", "native", "--bug", BUG, "--first", "--out", "found")
    assert code == 1
    assert (
        f"again      hicache-verify replay found/progress-1.jsonl --target native --bug {BUG}"
        in out
    )
    assert run("replay", "found/progress-1.jsonl")[0] == 1
    assert run("minimize", "found/progress-1.jsonl", "--json")[0] == 0
    assert run("replay", "found/progress-1.jsonl", "--target", "native")[0] == 0


def test_the_json_report_of_a_run_names_the_bug(run: Any) -> None:
    asked = ("run", "--target", "native", "--bug", BUG, "--first", "--json")
    assert json.loads(run(*asked)[1])["bug"] == BUG
