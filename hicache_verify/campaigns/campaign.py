"""A campaign: every cell of a plan explored by lanes of workers, all in the same cell at one time.

What happens is emitted as events. A campaign itself fails only where there is nothing to run, and
then its last event says so.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

import attrs

from hicache_verify import events
from hicache_verify.campaigns.cells import BadCell, Cell
from hicache_verify.campaigns.lane import Lane
from hicache_verify.campaigns.past import Past
from hicache_verify.campaigns.plan import Plan, Share, least, shares
from hicache_verify.campaigns.shared import Shared
from hicache_verify.campaigns.together import together
from hicache_verify.cannot_run import CannotRun, SilentCanary
from hicache_verify.findings import Finding
from hicache_verify.targets import dialect_of
from hicache_verify.workers.executor import Executor

T = TypeVar("T")

NOTHING = Past()


class Campaign:
    """Runs one plan, once."""

    def __init__(
        self,
        plan: Plan,
        executor: Executor,
        emit: events.Listener,
        clock: Callable[[], float] = time.monotonic,
        past: Past = NOTHING,
    ) -> None:
        self._plan = plan
        self._past = past
        self._shared = Shared(plan, executor, emit, clock, past)
        self._lanes = tuple(Lane(number, self._shared) for number in range(plan.lanes))

    def run(self) -> events.CampaignFinished:
        """Explore every cell; whatever happens, the last event is the result."""
        failure: CannotRun | None = None
        interrupted = False
        try:
            self._explore(self._open())
        except CannotRun as error:
            failure = error
        except KeyboardInterrupt:
            interrupted = True
        finally:
            for lane in self._lanes:
                lane.close()
        self._shared.ledger.give_up()
        return self._finish(failure, interrupted)

    # -- cells -------------------------------------------------------------------------------------

    def _open(self) -> tuple[Cell, ...]:
        plan, shared = self._plan, self._shared
        shared.emit(events.TargetOpening(plan.spec))
        opened = self._lanes[0].open()
        self._together([lane.open for lane in self._lanes[1:]])
        shared.ledger.target = opened.description.target
        shared.ledger.release = opened.description.release
        shared.dialect = dialect_of(opened.description)
        try:
            cells = plan.selection.expand(opened.description)
        except BadCell as error:
            raise CannotRun(str(error)) from error
        shared.emit(
            events.CampaignStarted(
                target=opened.description,
                spec=plan.spec,
                cells=cells,
                left_out=plan.selection.left_out(opened.description),
                seed=plan.seed,
                examples=plan.examples,
                budget=plan.budget,
                versions=opened.versions,
                seconds=shared.seconds() - self._past.seconds,
                workers=plan.lanes,
            )
        )
        return cells

    def _explore(self, every: tuple[Cell, ...]) -> None:
        self._take_up(every)
        cells = self._past.to_visit(every)
        budget, clock = self._plan.budget, self._shared.clock
        end = None if budget is None else clock() + budget - self._past.seconds
        for number, cell in enumerate(cells, 1):
            if self._shared.full():
                return
            self._shared.emit(events.CellStarted(cell, number, len(cells)))
            now, left = clock(), len(cells) - number + 1
            self._cell(cell, None if end is None else now + max(0.0, end - now) / left)

    def _take_up(self, cells: tuple[Cell, ...]) -> None:
        """Tell again what was done before, and minimize the findings that wait for it."""
        lanes, past = self._lanes, self._past
        for cell in cells:
            if cell not in past.to_visit(cells):
                self._shared.emit(past.cells[cell])
        waiting = sorted(past.unsettled)
        parts = [waiting[number :: len(lanes)] for number in range(len(lanes))]
        tasks = [partial(lane.minimize, keys) for lane, keys in zip(lanes, parts, strict=True)]
        self._together(tasks)

    def _cell(self, cell: Cell, until: float | None) -> None:
        shared = self._shared
        began, examples, operations = shared.clock(), shared.examples, shared.operations
        shared.ledger.laws.clear()
        rest = self._past.examples_left(cell, self._plan.examples)
        plan = attrs.evolve(self._plan, examples=rest)
        abandoned = self._share_out(cell, self._lanes, tuple(shares(plan, began, until)))
        if abandoned is None and shared.examples == examples and rest != 0:
            abandoned = self._share_out(cell, self._lanes[:1], (least(self._plan),))
        now = events.CellFinished(
            cell,
            shared.examples - examples,
            shared.operations - operations,
            shared.clock() - began,
            tuple(sorted(shared.ledger.laws)),
            abandoned,
        )
        shared.emit(self._past.with_(now))

    def _share_out(
        self, cell: Cell, lanes: Sequence[Lane], wholes: tuple[Share, ...]
    ) -> str | None:
        """Explore with several lanes at once; why one of them gave up, if one did."""
        tasks = [
            partial(lane.explore, cell, [whole.part(number, len(lanes)) for whole in wholes])
            for number, lane in enumerate(lanes)
        ]
        return next(filter(None, self._together(tasks, partial(self._progress, cell))), None)

    def _together(
        self, tasks: Sequence[Callable[[], T]], idle: Callable[[], None] = lambda: None
    ) -> list[T]:
        return together(tasks, idle=idle, stop=self._shared.stop.set)

    def _progress(self, cell: Cell) -> None:
        shared, lanes = self._shared, self._lanes
        minimizing = all(lane.minimizing for lane in lanes)
        with shared.lock:
            done = shared.seconds(), shared.examples, shared.operations
            shared.emit(events.Progress(cell, lanes[0].source, *done, minimizing))

    # -- the result --------------------------------------------------------------------------------

    def _finish(self, failure: CannotRun | None, interrupted: bool) -> events.CampaignFinished:
        shared = self._shared
        problem = None if failure is None else str(failure)
        blind = isinstance(failure, SilentCanary)
        found = shared.ledger.findings
        if problem is None and shared.examples == 0 and not found:
            problem = (
                "interrupted before the first example" if interrupted else "no example was run"
            )
        finished = events.CampaignFinished(
            verdict=events.ERROR if blind else _verdict(found, problem, interrupted),
            examples=shared.examples,
            operations=shared.operations,
            seconds=shared.seconds(),
            findings=found,
            interrupted=interrupted,
            problem=problem,
            canaries=shared.canaries,
            coverage=shared.coverage(),
        )
        shared.emit(finished)
        return finished


def _verdict(findings: tuple[Finding, ...], problem: str | None, interrupted: bool) -> str:
    """A run that was cut short has not agreed."""
    if findings:
        return events.DIVERGED
    return events.ERROR if problem or interrupted else events.AGREE
