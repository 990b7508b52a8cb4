"""Where workers run. An executor starts them; this one starts processes on this machine.

A worker is asked with ``send`` and heard with ``poll``; whatever becomes of its process is told as
an ``Ending``. Another executor (many machines, many workers) needs to offer nothing else.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from multiprocessing.connection import Connection, Pipe
from typing import IO, Any, Protocol

from hicache_verify.targets import TargetSpec
from hicache_verify.workers import output
from hicache_verify.workers.autopsy import DEATH, Ending
from hicache_verify.workers.journal import JournalReader, Pulse, make_file
from hicache_verify.workers.messages import Job, Reply
from hicache_verify.workers.watch import HANG, Limits, Watch

GRACE = 2.0
"""Seconds in which a process that closed its pipe may end by itself."""


class Worker(Protocol):
    """One process with one target, as its parent sees it."""

    def send(self, job: Job) -> None:
        """Hand it a job; it takes one at a time."""

    def poll(self, timeout: float) -> Reply | Ending | None:
        """What it says next, or how it ended; None when there was nothing within ``timeout``."""

    def pulse(self) -> Pulse:
        """Its counters, at any time."""

    def close(self) -> None:
        """End it, whatever it does."""


class Executor(Protocol):
    def start(self, spec: TargetSpec) -> Worker:
        """A worker that opens ``spec``; its first word is Opened or Refused."""


class LocalExecutor:
    """Processes on this machine."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits

    def start(self, spec: TargetSpec) -> Worker:
        return LocalWorker(spec, self._limits)


class LocalWorker:
    """A child process with its journal, its pipe and a file for what it writes on stderr."""

    def __init__(self, spec: TargetSpec, limits: Limits) -> None:
        journal_fd = make_file()
        self._journal = JournalReader(journal_fd)
        self._stderr: IO[bytes] = tempfile.TemporaryFile(mode="a+b")  # noqa: SIM115
        self._connection, theirs = Pipe()
        self._process = _spawn(theirs, journal_fd, self._stderr)
        theirs.close()
        os.close(journal_fd)
        self._watch = Watch(self._journal, self._process.pid, limits)
        self._ending: Ending | None = None
        self._put((spec, limits))

    def send(self, job: Job) -> None:
        self._put(job)

    def poll(self, timeout: float) -> Reply | Ending | None:
        if self._ending is not None:
            return self._ending
        try:
            if self._connection.poll(timeout):
                reply: Reply = self._connection.recv()
                return reply
        except Exception:  # noqa: BLE001 - end of file, or the nonsense of a corrupted process
            return self._finish(DEATH)
        output.bound(self._stderr.fileno())
        reason = self._watch.overdue()
        return None if reason is None else self._finish(reason)

    def pulse(self) -> Pulse:
        return self._journal.pulse()

    def close(self) -> None:
        self._kill()
        self._connection.close()
        self._stderr.close()

    def _put(self, message: Any) -> None:
        self._watch.restart()
        try:
            self._connection.send(message)
        except OSError:
            return  # it has died, which the next poll tells

    def _finish(self, reason: str) -> Ending:
        stderr = self._stderr.fileno()
        frames = output.stack_of_loop(self._process.pid, stderr) if reason == HANG else ()
        if reason == DEATH:
            self._wait(GRACE)
            frames = output.stack_of_death(stderr)
        self._kill()
        code, entry = self._process.returncode, self._journal.entry()
        self._ending = Ending(reason, code, entry, frames, output.tail(stderr))
        return self._ending

    def _wait(self, seconds: float) -> None:
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return

    def _kill(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)  # and what it has started
        self._process.wait()


def _spawn(connection: Connection, journal: int, stderr: IO[bytes]) -> subprocess.Popen[bytes]:
    """Alone in its session, so that Ctrl-C is the parent's to handle."""
    numbers = (connection.fileno(), journal)
    return subprocess.Popen(
        [sys.executable, "-m", "hicache_verify.workers.worker", *map(str, numbers)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=stderr,
        pass_fds=numbers,
        start_new_session=True,
        env=_environment(),
    )


def _environment() -> dict[str, str]:
    """Imports what the parent would import, and hashes the same in every run."""
    return {
        "OMP_NUM_THREADS": "1",
        **os.environ,
        "PYTHONHASHSEED": "0",
        "PYTHONSAFEPATH": "1",
        "PYTHONPATH": os.pathsep.join(entry or os.getcwd() for entry in sys.path),
    }
