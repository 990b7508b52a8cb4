"""The cache under test, loaded once (``--release``, ``--cache``, ``--core``), ``--bigram``,
``--strip-thinking``, and the profile.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import attrs
import pytest

from hicache_impl.sglang.releases import default_cache
from hicache_impl.target import AnyFactory
from hicache_model.dialects import CACHES, UNIFIED
from hicache_verify.campaigns.cells import Cell
from hicache_verify.targets import CORES, DEFAULT_RELEASE, TargetSpec, open_factory
from stateful_tests import profiles

Firsts: TypeAlias = dict[str, tuple[int, int]]
"""What was reached: in which example first, and how often."""

REACHED = pytest.StashKey[list[tuple[str, Firsts]]]()
LATEST = 3


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--release",
        metavar="V",
        default=DEFAULT_RELEASE,
        help=f"the SGLang release that the state machines run on (default {DEFAULT_RELEASE})",
    )
    parser.addoption(
        "--cache",
        choices=list(CACHES),
        default=None,
        help="which of its caches they run on (default: what its servers use)",
    )
    parser.addoption(
        "--core",
        choices=CORES,
        default=None,
        help="which tree core of its unified cache, or both side by side (default: python)",
    )

    parser.addoption(
        "--bigram", action="store_true", help="keys of pairs of tokens, as with EAGLE (is_eagle)"
    )
    parser.addoption(
        "--strip-thinking", action="store_true", help="as a server with --strip-thinking-cache"
    )


def pytest_configure(config: pytest.Config) -> None:
    try:
        profiles.load_chosen()
    except profiles.UnknownProfile as error:
        raise pytest.UsageError(str(error)) from error


@pytest.fixture(scope="session")
def release(pytestconfig: pytest.Config) -> str:
    return str(pytestconfig.getoption("--release"))


@pytest.fixture(scope="session")
def cache(release: str, pytestconfig: pytest.Config) -> str:
    if pytestconfig.getoption("--core"):
        return UNIFIED
    return str(pytestconfig.getoption("--cache") or default_cache(release))


@pytest.fixture(scope="session")
def as_asked(pytestconfig: pytest.Config) -> Callable[[Cell], Cell]:
    """What the options make of a cell."""
    bigram = bool(pytestconfig.getoption("--bigram"))
    strip_thinking = bool(pytestconfig.getoption("--strip-thinking"))
    return lambda cell: attrs.evolve(cell, bigram=bigram, strip_thinking=strip_thinking)


@pytest.fixture(scope="session")
def factory(release: str, cache: str, pytestconfig: pytest.Config) -> AnyFactory:
    """Caches of the release; a process holds only one release."""
    from hicache_impl.sglang.errors import Offline

    core = pytestconfig.getoption("--core")
    try:
        return open_factory(TargetSpec(release=release, cache=cache, core=core))
    except Offline as error:
        pytest.skip(str(error))


@pytest.fixture
def note(pytestconfig: pytest.Config) -> Callable[[str, Firsts], None]:
    """Keep what a test reached, for the end of the run."""
    tables = pytestconfig.stash.setdefault(REACHED, [])
    return lambda title, firsts: tables.append((title, firsts))


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """What took longest to reach; everything with ``-v``."""
    tables = config.stash.get(REACHED, [])
    if not tables:
        return
    shown = None if terminalreporter.verbosity > 0 else LATEST
    terminalreporter.section("reached by the random source (all of it with -v)")
    for title, firsts in tables:
        terminalreporter.write_line(title)
        latest_first = sorted(firsts.items(), key=lambda item: item[1], reverse=True)
        for thing, (first, count) in latest_first[:shown]:
            terminalreporter.write_line(f"  first in example {first:>4}, {count:>6} times: {thing}")
