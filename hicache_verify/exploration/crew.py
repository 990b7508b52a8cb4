"""The workers of an exploration: the states of a layer go through them in batches.

A worker that hangs or dies has found something. Its batch is done again without the operations that
ended it; after a few such losses the layer is cut short.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice

import attrs

from hicache_verify.campaigns.together import together
from hicache_verify.cannot_run import CannotRun
from hicache_verify.exploration.explore import Expanded, Found, Hear, State
from hicache_verify.targets import TargetSpec
from hicache_verify.workers.asking import ask, detail, open_worker, say
from hicache_verify.workers.autopsy import Ending, judge
from hicache_verify.workers.executor import Executor, Worker
from hicache_verify.workers.messages import Expand, Job, Opened, Refused, Reply
from hicache_verify.workers.other_core import OtherCore
from hicache_verify.workers.watch import Limits

BATCH = 32
"""States, at most; some hundred transitions. Smaller where a layer is, so that all have work."""

JobOf = Callable[[tuple[State, ...]], Expand | None]
"""The job for a batch; None where time is up."""


class Stopped(Exception):
    """Nobody waits any more for what this worker still does."""


class Crew:
    """Opened by ``open``, ended by ``close``. ``idle`` runs several times a second meanwhile."""

    def __init__(
        self,
        executor: Executor,
        spec: TargetSpec,
        limits: Limits,
        size: int,
        idle: Callable[[], None] = lambda: None,
    ) -> None:
        self._executor = executor
        self._spec = spec
        self._limits = limits
        self._idle = idle
        self._workers: list[Worker | None] = [None] * size
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._lost = self._broken = 0

    def open(self) -> Opened:
        """All workers at the same time; CannotRun where the target cannot be opened."""
        tasks = [partial(self._open, place) for place in range(len(self._workers))]
        return together(tasks, idle=self._idle, stop=self._stop.set)[0]

    def close(self) -> None:
        for place in range(len(self._workers)):
            self._close(place)

    def ask(self, job: Job) -> Reply | Ending:
        """One job for one of them."""
        return ask(self._worker(0), job, idle=self._idle)

    def expand(self, states: Sequence[State], hear: Hear, job_of: JobOf) -> None:
        """``hear`` what each batch came to, in order; CannotRun where the engine fails."""
        self._lost = 0
        batches = _batches(states, len(self._workers))
        layer = _LayerOfBatches(batches, hear)

        def idle() -> None:
            layer.tell()
            self._idle()

        places = range(min(len(self._workers), len(batches)))
        tasks = [partial(self._work, place, layer, job_of) for place in places]
        try:
            together(tasks, idle=idle, stop=self._stop.set)
        finally:
            layer.tell()

    # -- in the threads ----------------------------------------------------------------------------

    def _work(self, place: int, layer: _LayerOfBatches, job_of: JobOf) -> None:
        for number, batch in layer.take():
            layer.done[number] = self._do(place, batch, job_of)

    def _do(self, place: int, batch: tuple[State, ...], job_of: JobOf) -> Expanded:
        """One batch, over as many workers as it takes."""
        ended: list[Found] = []
        while (job := job_of(batch)) is not None and not self._gives_up():
            without = frozenset(found.operations for found in ended)
            job = attrs.evolve(job, without=without)
            said = ask(self._worker(place), job, idle=self._heed_the_end)
            if isinstance(said, Expanded):
                found = (*ended, *said.found)
                return attrs.evolve(said, found=found, transitions=said.transitions + len(ended))
            ended.extend(self._lose(place, said))
        return Expanded(found=tuple(ended), transitions=len(ended), complete=False)

    def _lose(self, place: int, said: Reply | Ending) -> Iterator[Found]:
        """What the end of a worker shows of the target."""
        if isinstance(said, Refused):
            raise CannotRun(f"no such cache can be explored: {say(said)}", detail(said))
        self._close(place)
        divergence = judge(said, self._limits) if isinstance(said, Ending) else None
        with self._lock:
            self._lost += divergence is not None
            self._broken += divergence is None
        if divergence is not None and isinstance(said, Ending) and said.case is not None:
            asked = OtherCore(self._executor, self._spec, self._limits)
            divergence = asked.attribute(divergence, said.case, self._heed_the_end)
            yield Found(divergence, said.case.operations)
        elif self._broken >= self._limits.broken_workers:
            raise CannotRun(f"the exploration failed: {say(said)}", detail(said))

    def _gives_up(self) -> bool:
        return self._lost >= self._limits.deaths_per_key

    def _open(self, place: int) -> Opened:
        worker, opened = open_worker(self._executor, self._spec, idle=self._heed_the_end)
        self._workers[place] = worker
        return opened

    def _worker(self, place: int) -> Worker:
        if self._workers[place] is None:
            self._open(place)
        worker = self._workers[place]
        assert worker is not None
        return worker

    def _close(self, place: int) -> None:
        worker, self._workers[place] = self._workers[place], None
        if worker is not None:
            worker.close()

    def _heed_the_end(self) -> None:
        if self._stop.is_set():
            raise Stopped


class _LayerOfBatches:
    """Handed out to whoever is free, told in order."""

    def __init__(self, batches: list[tuple[State, ...]], hear: Hear) -> None:
        self.done: dict[int, Expanded] = {}
        self._batches = batches
        self._hear = hear
        self._numbers = iter(range(len(batches)))
        self._told = 0

    def take(self) -> Iterator[tuple[int, tuple[State, ...]]]:
        while (number := next(self._numbers, None)) is not None:
            yield number, self._batches[number]

    def tell(self) -> None:
        while self._told in self.done:
            self._hear(self._batches[self._told], self.done.pop(self._told))
            self._told += 1


def _batches(states: Sequence[State], workers: int) -> list[tuple[State, ...]]:
    size = max(1, min(BATCH, len(states) // (4 * workers)))
    rest = iter(states)
    return list(iter(lambda: tuple(islice(rest, size)), ()))
