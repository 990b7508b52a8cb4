"""Python, and the command line, in processes of their own, for all tests that run them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
TIMEOUT_S = 300


class Ran(NamedTuple):
    """How it ended, and what it printed."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output is one JSON value and nothing else."""
        return json.loads(self.out)


def python(*arguments: str, folder: Path = ROOT, **environment: str) -> Ran:
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=_environment() | environment,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    return Ran(done.returncode, done.stdout, done.stderr)


def command(*arguments: str, folder: Path = ROOT, **environment: str) -> Ran:
    """``hicache-verify`` with these arguments."""
    return python("-m", "hicache_verify", *arguments, folder=folder, **environment)


def start(*arguments: str, folder: Path = ROOT) -> subprocess.Popen[str]:
    """The same, to be looked at or stopped while it runs."""
    return subprocess.Popen(
        [sys.executable, "-m", "hicache_verify", *arguments],
        cwd=folder,
        env=_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def end(started: subprocess.Popen[str], timeout: float = TIMEOUT_S) -> Ran:
    out, err = started.communicate(timeout=timeout)
    return Ran(started.returncode, out, err)


def wait_until(happens: Callable[[], object]) -> None:
    """Fails where it has not happened within a minute."""
    deadline = time.monotonic() + 60
    while not happens():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.01)


def _environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(ROOT)}
