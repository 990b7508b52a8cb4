"""Workers on the machines of a Dask cluster: needs the extra ``dask``, imported only where used.

A keeper, which is a Dask actor, lives on a machine and looks after one worker process there, as a
campaign does on its own machine: a hostile target cannot reach what runs the cluster. What is found
crosses as data, when it is found.
"""

from __future__ import annotations

import contextlib
import logging
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

from distributed import Client, LocalCluster

from hicache_verify.cannot_run import CannotRun, MachineLost
from hicache_verify.targets import TargetSpec
from hicache_verify.workers.autopsy import Ending, lost
from hicache_verify.workers.executor import LocalExecutor, Worker
from hicache_verify.workers.journal import Phase, Pulse
from hicache_verify.workers.messages import Job, Reply
from hicache_verify.workers.watch import Limits

LOCAL = "local"

PATIENCE = 30.0
"""Seconds after which a machine that does not answer is lost."""

CONNECTING = 10.0


class Keeper:
    """On a machine of the cluster: one worker process. Every method returns at once."""

    def __init__(self, spec: TargetSpec, limits: Limits) -> None:
        self._worker = LocalExecutor(limits).start(spec)

    def send(self, job: Job) -> None:
        self._worker.send(job)

    def poll(self) -> tuple[Reply | Ending | None, Pulse]:
        """What the process says next, and its counters after that."""
        said = self._worker.poll(0.0)
        return said, self._worker.pulse()

    def close(self) -> None:
        self._worker.close()

    def __del__(self) -> None:
        """When the campaign is gone, so is whom it asked to be kept."""
        self._worker.close()


class DaskExecutor:
    """Starts each worker on the machine that keeps the fewest."""

    def __init__(self, client: Client, limits: Limits) -> None:
        self.client = client
        self._limits = limits

    @property
    def threads(self) -> int:
        """As many as the cluster says it has."""
        threads: dict[str, int] = self.client.nthreads()
        return max(1, sum(threads.values()))

    def start(self, spec: TargetSpec, patience: float = PATIENCE) -> Worker:
        future = self.client.submit(Keeper, spec, self._limits, actor=True, pure=False)
        try:
            return DaskWorker(future.result(timeout=patience))
        except Exception as error:
            what = f"no machine of the Dask cluster took a worker: {type(error).__name__}"
            raise MachineLost(what, str(error)) from error


class DaskWorker:
    """A worker whose keeper is somewhere else."""

    def __init__(self, keeper: Any) -> None:
        self._keeper = keeper
        self._pulse = Pulse(0, 0, 0, Phase.STARTING, minimizing=False)
        self._lost: Ending | None = None

    def send(self, job: Job) -> None:
        self._ask("send", job)

    def poll(self, timeout: float) -> Reply | Ending | None:
        said, self._pulse = self._ask("poll") or (None, self._pulse)
        if self._lost is not None:
            return self._lost
        if said is None:
            time.sleep(timeout)
        found: Reply | Ending | None = said
        return found

    def pulse(self) -> Pulse:
        return self._pulse

    def close(self) -> None:
        self._ask("close")

    def _ask(self, method: str, *arguments: Any) -> Any:
        """What the keeper answers; None once its machine is lost."""
        if self._lost is not None:
            return None
        try:
            return getattr(self._keeper, method)(*arguments).result(timeout=PATIENCE)
        except Exception:  # noqa: BLE001 - whatever Dask says to it, nobody answers
            self._lost = lost(self._pulse)
            return None


@contextlib.contextmanager
def connected(address: str, workers: int, limits: Limits) -> Iterator[DaskExecutor]:
    """The cluster at ``address``, or with ``local`` one of as many processes on this machine."""
    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # a lost machine is told by us
    with contextlib.ExitStack() as stack:
        scheduler: Any = address
        if address == LOCAL:
            scheduler = stack.enter_context(_local_cluster(workers))
        try:
            client = stack.enter_context(Client(scheduler, timeout=CONNECTING))
        except (OSError, ValueError) as error:
            raise CannotRun(f"no Dask scheduler answers at {address}", str(error)) from error
        yield DaskExecutor(client, limits)


def _local_cluster(workers: int) -> LocalCluster:
    with _deaf_to_ctrl_c():
        return LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            dashboard_address="127.0.0.1:0",
            scheduler_kwargs={"dashboard": False},
            memory_limit=0,
            silence_logs=logging.CRITICAL,
        )


@contextlib.contextmanager
def _deaf_to_ctrl_c() -> Iterator[None]:
    """Processes that are started here leave Ctrl-C to the campaign."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
