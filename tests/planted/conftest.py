"""Keeps what each planted bug took to find, and prints it as a table at the end of a run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

FOUND = pytest.StashKey[list[tuple[str, dict[str, Any]]]]()


@pytest.fixture
def note(pytestconfig: pytest.Config) -> Callable[[str, dict[str, Any]], None]:
    """Give a line to the table."""
    lines = pytestconfig.stash.setdefault(FOUND, [])
    return lambda name, result: lines.append((name, result))


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    lines = config.stash.get(FOUND, [])
    if not lines:
        return
    terminalreporter.section("planted bugs: law, and what it took to find")
    terminalreporter.write_line("| bug | law | examples | operations | seconds |")
    terminalreporter.write_line("| --- | --- | ---: | ---: | ---: |")
    for name, result in lines:
        law = f"`{result['law']}`" if result["found"] else "nothing found"
        effort = f"{result['examples']} | {result['operations']} | {result['seconds']}"
        terminalreporter.write_line(f"| {name} | {law} | {effort} |")
