"""``make verify`` succeeds only when each run ended as it must."""

from __future__ import annotations

from typing import Any

import pytest

from scripts import verify

AGREES = verify.Run(0, {"verdict": "agree", "operations": 900}, 1.0)
FINDS = verify.Run(
    1,
    {"verdict": "diverged", "divergences": [{"law": "host-leaves", "operations": 4}]},
    1.0,
)
FINDS_ANOTHER = verify.Run(1, {"verdict": "diverged", "divergences": [{"law": "progress"}]}, 1.0)
FAILS = verify.Run(2, {}, 1.0)

AS_EXPECTED = (AGREES, FINDS, FINDS, AGREES)


@pytest.fixture
def ends_with(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The exit code of the whole when its runs end like this, one after another."""

    def call(*runs: verify.Run) -> int:
        left = list(runs)
        monkeypatch.setattr(verify, "run", lambda *arguments, **options: left.pop(0))
        code = verify.main()
        assert not left
        return code

    return call


def test_it_succeeds_when_all_runs_end_as_they_must(
    ends_with: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ends_with(*AS_EXPECTED) == 0
    said = capsys.readouterr().out.splitlines()[-4:]
    assert [line.split()[0] for line in said] == ["ok"] * 4
    assert said[0] == "ok   Our own cache agrees with the model: 900 operations."


@pytest.mark.parametrize("place", range(4))
@pytest.mark.parametrize("instead", [AGREES, FINDS, FINDS_ANOTHER, FAILS])
def test_it_fails_when_one_of_them_does_not(
    ends_with: Any, capsys: pytest.CaptureFixture[str], place: int, instead: verify.Run
) -> None:
    runs = list(AS_EXPECTED)
    if runs[place] is instead:
        pytest.skip("that is how it must end")
    runs[place] = instead
    assert ends_with(*runs) == 1
    assert capsys.readouterr().out.count("\nFAIL ") == 1


def test_our_own_cache_comes_first_under_every_write_policy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[list[str]] = []

    def run(name: str, options: list[str], budget: int) -> verify.Run:
        asked.append(options)
        return FAILS

    monkeypatch.setattr(verify, "run", run)
    assert verify.main() == 1
    first = ["--target", "native", "--write-policy", "all", "--page-size", "1,4"]
    assert asked[0] == first


def test_what_is_no_report_is_none() -> None:
    assert verify.parse("Traceback") == verify.parse("[1]") == verify.parse("") == {}


def test_a_run_that_does_not_end_is_stopped() -> None:
    code, output = verify.finish(["sleep", "60"], deadline=0.2)
    assert (code, output) == (verify.COULD_NOT_RUN, "")
