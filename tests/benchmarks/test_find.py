"""Reading the reports of the command line."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks import find


def report(*laws: str) -> dict[str, Any]:
    return {
        "divergences": [
            {"law": law, "operations": 4, "found_after": {"operations": 10 * i, "seconds": 1.5 * i}}
            for i, law in enumerate(laws, 1)
        ]
    }


def test_the_law_of_the_issue_is_looked_for_behind_other_findings() -> None:
    assert find.row(7, report("bytes", "host-leaves")) == (7, "bytes", 20, 3.0, 4)
    assert find.row(7, report("bytes")) == (7, "bytes", None, None, None)
    assert find.row(7, report()) == (7, "nothing", None, None, None)


def test_medians_are_of_the_runs_that_found_it(monkeypatch: pytest.MonkeyPatch) -> None:
    reports = {1: report("host-leaves"), 2: report("bytes", "host-leaves"), 3: report()}
    monkeypatch.setattr(find, "run", lambda seed, budget: reports[seed])
    table = find.table(3, 60, lambda text: None)
    assert table.notes[0] == "Found in 2 of 3 runs with a budget of 60 seconds each."
    assert table.notes[1] == "Median: 15 operations, 2.2 seconds."
