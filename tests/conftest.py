"""What all tests stand on."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import psutil
import pytest

# A shell that starts a test run in the background has it, and what it starts, ignore Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def nothing_left_running() -> Iterator[None]:
    """Whatever a test starts has ended after it; what others started before it may go on."""
    before = set(psutil.Process().children(recursive=True))
    yield
    assert not set(psutil.Process().children(recursive=True)) - before
