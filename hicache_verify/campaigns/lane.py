"""One lane of a campaign: a worker at a time that may hang, die or break, and leg after leg."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import attrs

from hicache_verify import events
from hicache_verify.campaigns.cells import Cell
from hicache_verify.campaigns.plan import Share
from hicache_verify.campaigns.seeds import derive
from hicache_verify.campaigns.shared import Shared
from hicache_verify.cannot_run import CannotRun, MachineLost, SilentCanary
from hicache_verify.divergence import Divergence
from hicache_verify.events import Canaries
from hicache_verify.findings import FoundAfter
from hicache_verify.workers.asking import ask, detail, open_worker, say
from hicache_verify.workers.autopsy import LOST, Ending, judge
from hicache_verify.workers.executor import Worker
from hicache_verify.workers.journal import Pulse
from hicache_verify.workers.messages import (
    Case,
    Found,
    Key,
    Leg,
    LegDone,
    Minimize,
    Minimized,
    Opened,
    Reply,
    Sung,
)
from hicache_verify.workers.other_core import OtherCore


class Stopped(Exception):
    """The campaign ends, and nobody waits for what this lane's worker still does."""


class Lane:
    """``source`` and ``minimizing`` say what it does at the moment."""

    def __init__(self, number: int, shared: Shared) -> None:
        self.source = ""
        self.minimizing = False
        self._number = number
        self._shared = shared
        self._plan = shared.plan
        self._worker: Worker | None = None
        self._leg: Leg | None = None
        self._examples = 0
        self._next_canary = number * (self._plan.canary_every or 0) // self._plan.lanes
        self._seen = (0, 0)
        self._waiting: Key | None = None
        self._is_finder = False

    def open(self) -> Opened:
        """Start its worker."""
        self._worker, opened = self._open_somewhere()
        self._seen = (0, 0)
        return opened

    def _open_somewhere(self) -> tuple[Worker, Opened]:
        """A worker with the target; if a machine is lost meanwhile, on another one."""
        while (opened := self._open_anywhere()) is None:
            self._heed_the_end()
        return opened

    def _open_anywhere(self) -> tuple[Worker, Opened] | None:
        shared = self._shared
        try:
            return open_worker(shared.executor, self._plan.spec, idle=self._heed_the_end)
        except MachineLost as error:
            self._count_lost_machine(str(error))
            return None

    def close(self) -> None:
        """End its worker, whatever it does."""
        if self._worker is not None:
            self._worker.close()
            self._worker = None

    def explore(self, cell: Cell, shares: Iterable[Share]) -> str | None:
        """Its part of one cell; why that was abandoned, if it was."""
        try:
            for share in shares:
                abandoned = self._go(cell, share)
                if abandoned is not None:
                    return abandoned
        except Stopped:
            self.close()
        return None

    def minimize(self, keys: Iterable[Key]) -> None:
        """Settle findings that were made before."""
        try:
            for key in keys:
                self._waiting, self._is_finder = key, True
                self._minimize_apart()
        except Stopped:
            return

    # -- legs --------------------------------------------------------------------------------------

    def _go(self, cell: Cell, share: Share) -> str | None:
        """One source, over as many workers as it takes; why it was abandoned, if so."""
        left, stretch = share.examples, self._shared.past.first_stretch
        while not self._shared.full():
            if self._worker is None:
                self.open()
            seconds = None if share.until is None else share.until - self._shared.clock()
            if (seconds is not None and seconds <= 0) or (left is not None and left <= 0):
                return None
            seed = derive(self._plan.seed, cell, share.source, stretch, self._number)
            with self._shared.lock:
                known = self._shared.ledger.known()
            leg = Leg(
                cell,
                share.source,
                seed,
                left,
                seconds,
                first=self._plan.first,
                database=self._plan.database,
                known=known,
                **self._canary(),
                coverage=self._plan.coverage,
            )
            before = self._examples
            reply = self._run_leg(leg)
            if isinstance(reply, LegDone):
                self._finish_leg(cell, reply)
                return None
            left = None if left is None else left - max(1, self._examples - before)
            abandoned = self._lose(leg, reply)
            if abandoned is not None:
                return abandoned
            stretch += 1
        return None

    def _canary(self) -> dict[str, int]:
        every = self._plan.canary_every
        if every is None:
            return {}
        return {"canary_after": max(0, self._next_canary - self._examples), "canary_every": every}

    def _run_leg(self, leg: Leg) -> Reply | Ending:
        self._leg, self.source = leg, leg.source
        self.minimizing = self._is_finder = False
        assert self._worker is not None
        reply = ask(self._worker, leg, hear=self._hear, idle=self._look)
        self._count(self._worker.pulse())
        return reply

    def _hear(self, reply: Reply) -> None:
        if isinstance(reply, Found):
            more = self._uncounted(reply.examples, reply.operations)
            self._record(reply.divergence, reply.case, self._shared.after(*more))
        elif isinstance(reply, Minimized):
            self._settle(reply)
        elif isinstance(reply, Sung):
            self._heard_canary(reply)

    def _heard_canary(self, song: Sung) -> None:
        self._next_canary = self._examples + (self._plan.canary_every or 0)
        with self._shared.lock:
            before = self._shared.canaries
            self._shared.canaries = Canaries(before.run + 1, before.found + song.found)
        if not song.found:
            raise SilentCanary(
                f"the canary stayed silent: the planted bug {song.bug} breaks {song.law}, and"
                f" {song.operations} operations did not show it, so this harness is blind"
            )

    def _look(self) -> None:
        assert self._worker is not None
        pulse = self._worker.pulse()
        self.minimizing = pulse.minimizing
        self._count(pulse)
        self._heed_the_end()

    def _heed_the_end(self) -> None:
        """Stopped where the campaign ends; who made its last finding minimizes it first."""
        if self._shared.stop.is_set() or (self._shared.full() and not self._is_finder):
            raise Stopped

    def _finish_leg(self, cell: Cell, done: LegDone) -> None:
        if done.reach is not None:
            self._shared.reached(cell, done.reach)
        with self._shared.lock:
            for key, times in done.repeats:
                if key in self._shared.ledger:
                    self._shared.ledger.repeat(key, times)

    def _uncounted(self, examples: int, operations: int) -> tuple[int, int]:
        """What the worker has done beyond what was counted, when its own counts are these."""
        return examples - self._seen[0], operations - self._seen[1]

    def _count(self, pulse: Pulse) -> None:
        examples, operations = self._uncounted(pulse.examples, pulse.operations)
        self._examples += examples
        self._seen = (pulse.examples, pulse.operations)
        self._shared.count(examples, operations)

    # -- findings ----------------------------------------------------------------------------------

    def _record(self, divergence: Divergence, case: Case, after: FoundAfter) -> None:
        """A finding of this lane, which another one may have made at the same time."""
        assert self._leg is not None
        ledger = self._shared.ledger
        with self._shared.lock:
            if divergence.key in ledger:
                ledger.repeat(divergence.key, 1)
                return
            if self._shared.full():
                raise Stopped
            self._waiting, self._is_finder = divergence.key, True
            ledger.add(divergence, case, self._leg, after)

    def _settle(self, result: Minimized) -> None:
        if result.key == self._waiting:
            self._waiting = None
        with self._shared.lock:
            self._shared.ledger.settle(result)

    def _give_up(self) -> None:
        """The finding that waits stays as it was found."""
        if self._waiting is not None:
            key, self._waiting = self._waiting, None
            with self._shared.lock:
                self._shared.ledger.give_up(key)

    # -- workers that were lost --------------------------------------------------------------------

    def _lose(self, leg: Leg, reply: Reply | Ending) -> str | None:
        """A worker ended before its leg did; why the leg is to be abandoned, or None."""
        self.close()
        if isinstance(reply, Ending) and reply.reason == LOST:
            self._count_lost_machine(say(reply))
            self._minimize_apart()
            return None
        divergence = judge(reply, self._plan.limits) if isinstance(reply, Ending) else None
        if divergence is None or not isinstance(reply, Ending) or reply.case is None:
            self._blame_ourselves(reply)
            return None
        self._minimize_apart()  # what the worker was minimizing when it was lost
        divergence = self._attributed(divergence, reply.case)
        key = divergence.key
        with self._shared.lock:
            self._record(divergence, reply.case, self._shared.after())
            self._shared.lost[key] += 1
            lost = self._shared.lost[key]
            number = self._shared.ledger[key].number
            self._shared.emit(events.WorkerLost(reply.how, number))
        self._minimize_apart()
        if lost < self._plan.limits.deaths_per_key:
            return None
        return f"{divergence.law} has ended {lost} workers"

    def _count_lost_machine(self, how: str) -> None:
        with self._shared.lock:
            self._shared.machines_lost += 1
            lost = self._shared.machines_lost
            self._shared.emit(events.WorkerLost(how, None))
        if lost >= self._plan.limits.lost_machines:
            raise CannotRun(f"{lost} machines were lost, the last because {how}")

    def _blame_ourselves(self, reply: Reply | Ending) -> None:
        self._give_up()
        with self._shared.lock:
            self._shared.broken += 1
            broken = self._shared.broken
            self._shared.emit(events.WorkerLost(say(reply), None))
        if broken >= self._plan.limits.broken_workers:
            raise CannotRun(
                f"{broken} workers failed, the last because {say(reply)}", detail(reply)
            )

    def _minimize_apart(self) -> None:
        """Minimize the finding that waits, with every candidate in a process of its own."""
        if self._waiting is None:
            return
        finding = self._shared.ledger[self._waiting]
        with self._spare_worker() as worker:
            self.minimizing = True
            job = Minimize(finding.case, finding.divergence, isolated=True)
            reply = ask(worker, job, idle=self._heed_the_end)
        if isinstance(reply, Minimized):
            found = self._attributed(reply.divergence, reply.case)
            self._settle(attrs.evolve(reply, divergence=found))
        else:
            self._give_up()

    def _attributed(self, ended: Divergence, case: Case) -> Divergence:
        """Of two cores, which one stands alone, where this is not known from both of them."""
        if ended.stands_alone is not None:
            return ended
        asked = OtherCore(self._shared.executor, self._plan.spec, self._plan.limits)
        return asked.attribute(ended, case, self._heed_the_end)

    @contextmanager
    def _spare_worker(self) -> Iterator[Worker]:
        """A worker whose counts and whose loss mean nothing."""
        worker, _ = self._open_somewhere()
        try:
            yield worker
        finally:
            worker.close()
