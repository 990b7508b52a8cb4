"""Runs one case in a child process of the worker, because it may hang or end its process.

The child is a fork of a worker that has imported the target and run nothing, so it is fresh and
costs milliseconds. It shares the worker's journal, from which its end is judged.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import select
import signal
import time
from collections.abc import Callable
from typing import NoReturn

from hicache_verify.workers import output
from hicache_verify.workers.autopsy import DEATH, Ending, judge
from hicache_verify.workers.journal import JournalReader
from hicache_verify.workers.messages import Attempt, Attempted, Case
from hicache_verify.workers.watch import HANG, Limits, Watch

POLL = 0.01
STDERR = 2


def run_isolated(
    job: Attempt, run: Callable[[Attempt], Attempted], journal: JournalReader, limits: Limits
) -> Attempted:
    """``run(job)`` in a child; a child that hangs or dies has diverged."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _in_child(job, run, writing)
    os.close(writing)
    try:
        return _follow(job, child, reading, journal, limits)
    finally:
        os.close(reading)


def _in_child(job: Attempt, run: Callable[[Attempt], Attempted], writing: int) -> NoReturn:
    """Ends this process without running anything of the parent's."""
    try:
        with os.fdopen(writing, "wb") as pipe:
            pickle.dump(run(job), pipe)
    finally:
        os._exit(0)


def _follow(
    job: Attempt, child: int, reading: int, journal: JournalReader, limits: Limits
) -> Attempted:
    watch = Watch(journal, child, limits)
    answer = b""
    reason: str | None = None
    while reason is None:
        if select.select([reading], [], [], POLL)[0]:
            part = os.read(reading, 1 << 16)
            answer += part
            reason = None if part else DEATH
        else:
            reason = watch.overdue()
    frames = output.stack_of_loop(child, STDERR) if reason == HANG else ()
    status = _end(child, patience=0 if reason != DEATH else 50)
    with contextlib.suppress(EOFError, pickle.UnpicklingError):
        result: Attempted = pickle.loads(answer)
        return result
    ending = Ending(reason, os.waitstatus_to_exitcode(status), journal.entry(), frames)
    return Attempted(judge(ending, limits), ending.case or Case(job.case.configuration, ()))


def _end(child: int, patience: int) -> int:
    """Its wait status; killed if it does not end by itself within so many looks."""
    for _ in range(patience):
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return status
        time.sleep(POLL)
    os.kill(child, signal.SIGKILL)
    return os.waitpid(child, 0)[1]
