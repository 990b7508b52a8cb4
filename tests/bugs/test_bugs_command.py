"""``hicache-verify bugs``, and ``--bug`` of the commands that run a target."""

from __future__ import annotations

import json
from typing import Any

import pytest

from hicache_impl.bugs import BANK

BUG = "eviction-reports-nothing"
OTHER = "demoted-tokens-stay-counted"


def test_the_bugs_that_are_named_are_looked_for(cli: Any) -> None:
    code, out, _ = cli("bugs", BUG, OTHER, "--json")
    report = json.loads(out)
    assert code == 0
    assert [found["id"] for found in report["bugs"]] == [BUG, OTHER]
    for found in report["bugs"]:
        assert found["found"] is True
        assert found["law"] == found["found_under"] == BANK[found["id"]].law
        assert found["operations"] > 0 < found["seconds"]
        assert found["trace_length"] >= BANK[found["id"]].length


def test_the_table_says_law_effort_and_length(cli: Any) -> None:
    code, out, err = cli("bugs", BUG)
    assert code == 0
    assert "1 of 1 planted bugs are found" in out
    assert "progress" in out
    assert BUG in err


def test_a_bug_that_is_not_found_is_a_failure(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "hicache_verify.campaigns.planted.Selection", lambda *cell, **more: _blind()
    )
    code, out, _ = cli("bugs", "host-leaf-asks-evicted", "--budget", "0.5", "--json")
    assert code == 1
    (found,) = json.loads(out)["bugs"]
    assert found["found"] is False
    assert "is not found" in found["message"]


def _blind() -> Any:
    """Under write_through nothing of it shows."""
    from hicache_verify.campaigns.cells import Selection

    return Selection(("write_through",))


def test_a_bug_that_is_found_under_another_law_is_a_failure(
    cli: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import attrs

    wrong = attrs.evolve(BANK[BUG], law="bytes")
    monkeypatch.setattr("hicache_impl.bugs.find", lambda identifier: wrong)
    code, out, _ = cli("bugs", BUG)
    assert code == 1
    assert f"{BUG} is found under progress, and says that it breaks bytes" in out


def test_the_list_names_every_bug(cli: Any) -> None:
    code, out, _ = cli("bugs", "--list", "--json")
    assert code == 0
    assert [bug["id"] for bug in json.loads(out)["bugs"]] == list(BANK)
    assert all(bug.identifier in cli("bugs", "--list")[1] for bug in BANK.values())


def test_an_unknown_bug_is_one_line_with_close_matches(cli: Any) -> None:
    for command in (("bugs", "reset-forgets"), ("run", "--target", "native", "--bug", "reset-f")):
        code, _, err = cli(*command)
        assert code == 2
        assert len(err.splitlines()) == 1
        assert "unknown bug" in err
    assert "reset-keeps-the-host" in cli("bugs", "reset-keeps-host")[2]


def test_a_bug_goes_into_our_own_cache_only(cli: Any) -> None:
    code, _, err = cli("run", "--bug", BUG)
    assert code == 2
    assert "--target native" in err


def test_run_replay_and_minimize_know_the_bug_again(cli: Any) -> None:
    code, out, _ = cli("run", "--target", "native", "--bug", BUG, "--first", "--out", "found")
    assert code == 1
    assert (
        f"again      hicache-verify replay found/progress-1.jsonl --target native --bug {BUG}"
        in out
    )
    assert cli("replay", "found/progress-1.jsonl")[0] == 1
    assert cli("minimize", "found/progress-1.jsonl", "--json")[0] == 0
    assert cli("replay", "found/progress-1.jsonl", "--target", "native")[0] == 0


def test_the_json_report_of_a_run_names_the_bug(cli: Any) -> None:
    asked = ("run", "--target", "native", "--bug", BUG, "--first", "--json")
    assert json.loads(cli(*asked)[1])["bug"] == BUG
