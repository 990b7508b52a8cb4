"""The worker process: opens one target, then does one job after another until its parent is gone.

Started as ``python -m hicache_verify.workers.worker CONNECTION JOURNAL``: two descriptors.
"""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import importlib.metadata
import os
import platform
import queue
import resource
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from hicache_impl.target import AnyFactory, SideBySide
from hicache_verify.campaigns.canary import Canary
from hicache_verify.divergence import Divergence
from hicache_verify.exploration.expanding import Expander
from hicache_verify.exploration.explore import Expanded
from hicache_verify.minimizing import Candidates, minimize_case, same_ending, same_key
from hicache_verify.session import Session, TimeIsUp
from hicache_verify.targets import dialect_of, open_factory
from hicache_verify.workers import output
from hicache_verify.workers.guard import Guard, RefusedConfiguration
from hicache_verify.workers.isolation import run_isolated
from hicache_verify.workers.journal import Journal, JournalReader, Phase
from hicache_verify.workers.messages import (
    Attempt,
    Attempted,
    Broken,
    Case,
    Expand,
    Job,
    Leg,
    LegDone,
    Minimize,
    Minimized,
    Opened,
    Refused,
    Reply,
)
from hicache_verify.workers.watch import Limits

SHOWN = ("hicache-verify", "torch", "hypothesis", "numpy")


class Inbox:
    """What the parent sends, read by a thread that also notices when the parent is gone."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._jobs: queue.SimpleQueue[Any] = queue.SimpleQueue()
        threading.Thread(target=self._read, daemon=True).start()

    def next(self) -> Any:
        """The next job, waiting for it."""
        return self._jobs.get()

    def _read(self) -> None:
        signal.pthread_sigmask(
            signal.SIG_BLOCK, [signal.SIGUSR1]
        )  # the main thread's stack is asked for
        try:
            while True:
                self._jobs.put(self._connection.recv())
        except (EOFError, OSError):
            os._exit(0)


class Worker:
    """A target that is open, and the jobs that can be done with it."""

    def __init__(
        self,
        factory: AnyFactory,
        connection: Connection,
        journal: Journal,
        reader: JournalReader,
        limits: Limits,
    ) -> None:
        self._factory = factory
        self._connection = connection
        self._journal = journal
        self._reader = reader
        self._limits = limits

    def do(self, job: Job) -> LegDone | Attempted | Minimized | Expanded | Refused:
        if isinstance(job, Leg):
            return self._search(job)
        if isinstance(job, Expand):
            return self._expand(job)
        if isinstance(job, Attempt):
            return self._attempt(job)
        return self._isolated(job) if job.isolated else self._minimize(job.case, job.divergence)

    def _search(self, leg: Leg) -> LegDone:
        deadline = None if leg.seconds is None else time.monotonic() + leg.seconds
        unobserved = self._factory.description.unobserved
        canary = Canary(leg, self._journal, self._connection.send, unobserved)
        session = Session(
            self._factory,
            self._journal,
            leg,
            send=self._connection.send,
            minimize=lambda case, found: self._minimize(case, found, deadline),
            deadline=deadline,
            before_example=canary.look,
        )
        try:
            source = _source(leg.source)
            source(session, leg.cell, seed=leg.seed, examples=leg.examples, deadline=deadline)
        except TimeIsUp:
            pass
        except Exception:
            if not session.over():
                raise  # Hypothesis calls it flaky when a leg ends in the middle of its examples
        return session.done()

    def _expand(self, job: Expand) -> Expanded | Refused:
        guard = Guard(self._factory, self._journal, exact=True)
        dialect = dialect_of(self._factory.description)
        try:
            return Expander(guard, dialect, job).run()
        except RefusedConfiguration as error:
            return Refused("RefusedConfiguration", str(error))

    def _attempt(self, job: Attempt) -> Attempted | Refused:
        factory = self._factory
        if job.core is not None and isinstance(factory, SideBySide):
            factory = factory.members[job.core]
        try:
            return Guard(factory, self._journal, exact=True).run(job)
        except RefusedConfiguration as error:
            return Refused("RefusedConfiguration", str(error))

    def _minimize(
        self, case: Case, divergence: Divergence, deadline: float | None = None
    ) -> Minimized:
        seconds = self._limits.minimizing
        if deadline is not None:
            left = deadline - time.monotonic()
            seconds = min(seconds, max(left, self._limits.minimizing_late))
        guard = Guard(self._factory, self._journal, exact=True)
        candidates = Candidates(guard.run, same_key(divergence), self._limits.candidates)
        with self._journal.minimizing():
            return self._shortest(case, divergence, candidates, seconds)

    def _isolated(self, job: Minimize) -> Minimized:
        guard = Guard(self._factory, self._journal, exact=True)
        seconds = min(self._limits.operation, self._limits.isolated_operation)
        limits = Limits(operation=seconds, memory=self._limits.memory)
        candidates = Candidates(
            lambda attempt: run_isolated(attempt, guard.run, self._reader, limits),
            same_ending(job.divergence),
            self._limits.isolated_candidates,
        )
        with self._journal.minimizing():
            seconds = self._limits.isolated_minimizing
            return self._shortest(job.case, job.divergence, candidates, seconds)

    def _shortest(
        self, case: Case, divergence: Divergence, candidates: Candidates, seconds: float
    ) -> Minimized:
        return minimize_case(case, divergence, candidates, self._factory.description, seconds)


def _source(name: str) -> Callable[..., None]:
    """Imported only when it is used: Hypothesis takes a while."""
    if name == "hypothesis":
        from hicache_verify.sources.hypothesis_source import run_hypothesis

        return run_hypothesis
    from hicache_verify.sources.random_source import run_random

    return run_random


def main(arguments: list[str]) -> int:
    connection, journal_fd = Connection(int(arguments[0])), int(arguments[1])
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    faulthandler.enable()
    faulthandler.register(output.ASK, all_threads=False)
    journal, reader, inbox = Journal(journal_fd), JournalReader(journal_fd), Inbox(connection)
    spec, limits = inbox.next()
    try:
        factory = open_factory(spec)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - told to the parent, in one line
        connection.send(Refused(type(error).__name__, _one_line(error), traceback.format_exc()))
        return 0
    gc.freeze()  # what was imported stays: no collection needs to look through it again
    gc.freeze()  # what is loaded stays: no collection needs to look at it again
    journal.phase(Phase.IDLE)
    connection.send(Opened(factory.description, versions()))
    worker = Worker(factory, connection, journal, reader, limits)
    while True:
        job = inbox.next()
        reply: Reply
        try:
            reply = worker.do(job)
        except Exception as error:  # noqa: BLE001 - whatever breaks, the parent decides
            reply = Broken(f"{type(error).__name__}: {_one_line(error)}", traceback.format_exc())
        journal.phase(Phase.IDLE)
        connection.send(reply)


def versions() -> tuple[tuple[str, str], ...]:
    """The versions that a run depends on."""
    found = [("python", platform.python_version())]
    for name in SHOWN:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found.append((name, importlib.metadata.version(name)))
    return tuple(found)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
