"""A campaign: every cell of a plan explored by workers that may hang, die or break, and go on.

What happens is emitted as events. A campaign itself fails only where there is nothing to run, and
then its last event says so.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from hicache_verify import events
from hicache_verify.asking import ask, detail, open_worker, say
from hicache_verify.autopsy import Ending, judge
from hicache_verify.cannot_run import CannotRun
from hicache_verify.cells import BadCell, Cell
from hicache_verify.executor import Executor, Worker
from hicache_verify.findings import Finding, FoundAfter
from hicache_verify.journal import Pulse
from hicache_verify.ledger import Ledger
from hicache_verify.messages import Found, Key, Leg, LegDone, Minimize, Minimized, Opened, Reply
from hicache_verify.plan import Plan, Share, least, shares
from hicache_verify.seeds import derive


class Campaign:
    """Runs one plan, once."""

    def __init__(
        self,
        plan: Plan,
        executor: Executor,
        emit: events.Listener,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._plan = plan
        self._executor = executor
        self._emit = emit
        self._clock = clock
        self._started = clock()
        self._ledger = Ledger(plan.seed, emit)
        self._worker: Worker | None = None
        self._leg: Leg | None = None
        self._examples = 0
        self._operations = 0
        self._seen = (0, 0)
        self._lost: Counter[Key] = Counter()
        self._broken = 0

    def run(self) -> events.CampaignFinished:
        """Explore every cell; whatever happens, the last event is the result."""
        problem: str | None = None
        interrupted = False
        try:
            self._explore(self._open())
        except CannotRun as error:
            problem = str(error)
        except KeyboardInterrupt:
            interrupted = True
        finally:
            self._drop_worker()
        self._ledger.give_up()
        return self._finish(problem, interrupted)

    # -- cells -------------------------------------------------------------------------------------

    def _open(self) -> tuple[Cell, ...]:
        plan = self._plan
        self._emit(events.TargetOpening(plan.spec))
        opened = self._start_worker()
        self._ledger.release = opened.description.release
        try:
            cells = plan.selection.expand(opened.description)
        except BadCell as error:
            raise CannotRun(str(error)) from error
        self._emit(
            events.CampaignStarted(
                target=opened.description,
                spec=plan.spec,
                cells=cells,
                left_out=plan.selection.left_out(opened.description),
                seed=plan.seed,
                examples=plan.examples,
                budget=plan.budget,
                versions=opened.versions,
                seconds=self._seconds(),
            )
        )
        return cells

    def _explore(self, cells: tuple[Cell, ...]) -> None:
        budget = self._plan.budget
        end = None if budget is None else self._clock() + budget
        for number, cell in enumerate(cells, 1):
            if self._done():
                return
            self._emit(events.CellStarted(cell, number, len(cells)))
            now, left = self._clock(), len(cells) - number + 1
            self._cell(cell, None if end is None else now + max(0.0, end - now) / left)

    def _cell(self, cell: Cell, until: float | None) -> None:
        began, examples, operations = self._clock(), self._examples, self._operations
        self._ledger.laws.clear()
        abandoned: str | None = None
        for share in shares(self._plan, began, until):
            if abandoned is None and not self._done():
                abandoned = self._go(cell, share)
        if abandoned is None and self._examples == examples:
            abandoned = self._go(cell, least(self._plan))
        self._emit(
            events.CellFinished(
                cell,
                self._examples - examples,
                self._operations - operations,
                self._clock() - began,
                tuple(sorted(self._ledger.laws)),
                abandoned,
            )
        )

    def _done(self) -> bool:
        return len(self._ledger) >= (1 if self._plan.first else self._plan.limits.findings)

    # -- legs --------------------------------------------------------------------------------------

    def _go(self, cell: Cell, share: Share) -> str | None:
        """One source in one cell, over as many workers as it takes; why it was abandoned, if so."""
        left, stretch = share.examples, 0
        while not self._done():
            seconds = None if share.until is None else share.until - self._clock()
            if (seconds is not None and seconds <= 0) or (left is not None and left <= 0):
                return None
            seed = derive(self._plan.seed, cell, share.source, stretch)
            known = self._ledger.known()
            leg = Leg(
                cell,
                share.source,
                seed,
                left,
                seconds,
                self._plan.first,
                self._plan.database,
                known,
            )
            before = self._examples
            reply = self._run_leg(leg)
            if isinstance(reply, LegDone):
                self._count_repeats(reply)
                return None
            left = None if left is None else left - max(1, self._examples - before)
            abandoned = self._lose(leg, reply)
            if abandoned is not None:
                return abandoned
            stretch += 1
        return None

    def _run_leg(self, leg: Leg) -> Reply | Ending:
        self._leg = leg
        if self._worker is None:
            self._start_worker()
        assert self._worker is not None
        reply = ask(self._worker, leg, hear=self._hear, idle=self._progress)
        self._count(self._worker.pulse())
        return reply

    def _hear(self, reply: Reply) -> None:
        assert self._leg is not None
        if isinstance(reply, Found):
            examples, operations = self._totals(reply.examples, reply.operations)
            after = FoundAfter(examples, operations, self._seconds())
            self._ledger.add(reply.divergence, reply.case, self._leg, after)
        elif isinstance(reply, Minimized):
            self._ledger.settle(reply)

    def _progress(self) -> None:
        if self._worker is None or self._leg is None:
            return
        pulse = self._worker.pulse()
        self._count(pulse)
        done = self._examples, self._operations
        cell, source = self._leg.cell, self._leg.source
        self._emit(events.Progress(cell, source, self._seconds(), *done, pulse.minimizing))

    def _count_repeats(self, done: LegDone) -> None:
        for key, times in done.repeats:
            if key in self._ledger:
                self._ledger.repeat(key, times)

    def _seconds(self) -> float:
        return self._clock() - self._started

    # -- workers -----------------------------------------------------------------------------------

    def _start_worker(self) -> Opened:
        self._worker, opened = open_worker(self._executor, self._plan.spec)
        self._seen = (0, 0)
        return opened

    def _drop_worker(self) -> None:
        if self._worker is not None:
            self._worker.close()
            self._worker = None

    def _totals(self, examples: int, operations: int) -> tuple[int, int]:
        """The campaign's counts when the present worker's are these."""
        seen_examples, seen_operations = self._seen
        more = examples - seen_examples, operations - seen_operations
        return self._examples + more[0], self._operations + more[1]

    def _count(self, pulse: Pulse) -> None:
        self._examples, self._operations = self._totals(pulse.examples, pulse.operations)
        self._seen = (pulse.examples, pulse.operations)

    def _lose(self, leg: Leg, reply: Reply | Ending) -> str | None:
        """A worker ended before its leg did; why the leg is to be abandoned, or None."""
        self._drop_worker()
        divergence = judge(reply, self._plan.limits) if isinstance(reply, Ending) else None
        if divergence is None or not isinstance(reply, Ending) or reply.case is None:
            self._blame_ourselves(leg.cell, reply)
            return None
        self._minimize_apart()  # what the worker was minimizing when it was lost
        key = divergence.key
        self._lost[key] += 1
        if key in self._ledger:
            self._ledger.repeat(key, 1)
        else:
            after = FoundAfter(self._examples, self._operations, self._seconds())
            self._ledger.add(divergence, reply.case, leg, after)
        self._emit(events.WorkerLost(leg.cell, reply.how, self._ledger[key].number))
        self._minimize_apart()
        if self._lost[key] < self._plan.limits.deaths_per_key:
            return None
        return f"{divergence.law} has ended {self._lost[key]} workers"

    def _blame_ourselves(self, cell: Cell, reply: Reply | Ending) -> None:
        self._ledger.give_up()
        self._broken += 1
        self._emit(events.WorkerLost(cell, say(reply), None))
        if self._broken >= self._plan.limits.broken_workers:
            raise CannotRun(
                f"{self._broken} workers failed, the last because {say(reply)}", detail(reply)
            )

    def _minimize_apart(self) -> None:
        """Minimize the finding that waits, with every candidate in a process of its own."""
        finding = self._ledger.unsettled
        if finding is None:
            return
        with self._spare_worker() as worker:
            job = Minimize(finding.case, finding.divergence, isolated=True)
            reply = ask(worker, job)
        if isinstance(reply, Minimized):
            self._ledger.settle(reply)
        else:
            self._ledger.give_up()

    @contextmanager
    def _spare_worker(self) -> Iterator[Worker]:
        """A worker whose counts and whose loss mean nothing."""
        worker, _ = open_worker(self._executor, self._plan.spec)
        try:
            yield worker
        finally:
            worker.close()

    # -- the result --------------------------------------------------------------------------------

    def _finish(self, problem: str | None, interrupted: bool) -> events.CampaignFinished:
        found = self._ledger.findings
        if problem is None and self._examples == 0 and not found:
            problem = (
                "interrupted before the first example" if interrupted else "no example was run"
            )
        finished = events.CampaignFinished(
            verdict=_verdict(found, problem, interrupted),
            examples=self._examples,
            operations=self._operations,
            seconds=self._seconds(),
            findings=found,
            interrupted=interrupted,
            problem=problem,
        )
        self._emit(finished)
        return finished


def _verdict(findings: tuple[Finding, ...], problem: str | None, interrupted: bool) -> str:
    """A run that was cut short has not agreed."""
    if findings:
        return events.DIVERGED
    return events.ERROR if problem or interrupted else events.AGREE
