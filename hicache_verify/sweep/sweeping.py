"""Runs the cells of a sweep, each as a campaign of its own, and says what became of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timezone
from pathlib import Path

import attrs

from hicache_verify import events
from hicache_verify.campaigns.campaign import Campaign
from hicache_verify.campaigns.cells import Selection
from hicache_verify.campaigns.plan import Plan
from hicache_verify.catalogue.resemblance import likened
from hicache_verify.findings import Finding
from hicache_verify.report.files import Files
from hicache_verify.sweep.matrix import SweepCell
from hicache_verify.sweep.record import (
    AGREES,
    DIVERGES,
    DOES_NOT_LOAD,
    NOT_RUN,
    Asked,
    CellDone,
    Found,
    Record,
)
from hicache_verify.workers.executor import Executor, LocalExecutor

Explore = Callable[[SweepCell], CellDone]

_FOLDER = re.compile(r"\S+/(?=sglang\b)")


def sweep(cells: Iterable[SweepCell], record: Record, explore: Explore) -> Iterator[CellDone]:
    """What became of each cell; one that is done is not run again, and what it found resembles what
    the catalogue knows today.

    KeyboardInterrupt ends the sweep; the cell that was being explored is not recorded.
    """
    for cell in cells:
        if not record.is_done(cell):
            record.add(explore(cell))
        yield _known_today(record.cells[cell], record.asked)


def _known_today(done: CellDone, asked: Asked) -> CellDone:
    """With what the present catalogue says that each finding looks like."""
    where = done.cell.release, done.cell.target, asked
    found = (attrs.evolve(one, divergence=likened(one.divergence, *where)) for one in done.found)
    return attrs.evolve(done, found=tuple(found))


class Campaigns:
    """Explores a cell with ``workers`` processes; its findings are written below ``folder``."""

    def __init__(
        self, folder: Path, asked: Asked, workers: int, executor: Executor | None = None
    ) -> None:
        self._folder = folder
        self._asked = asked
        self._workers = workers
        self._executor = executor

    def __call__(self, cell: SweepCell) -> CellDone:
        """Raises KeyboardInterrupt where the campaign was interrupted."""
        problem = _cannot_be_had(cell.release)
        if problem is not None:
            return CellDone(cell, _today(), NOT_RUN, problem=problem)
        plan = Plan(
            spec=cell.spec,
            selection=Selection(
                (cell.write_policy,),
                self._asked.page_sizes,
                component=self._asked.component,
                strip_thinking=self._asked.strip_thinking,
                bigram=self._asked.bigram,
            ),
            seed=self._asked.seed,
            budget=self._asked.budget,
            workers=self._workers,
        )
        files, opening = Files(self._folder / _folder_of(cell)), Opening()
        executor = self._executor or LocalExecutor(plan.limits)
        finished = Campaign(plan, executor, events.to_all(files, opening)).run()
        if finished.interrupted:
            raise KeyboardInterrupt
        return CellDone(
            cell,
            _today(),
            _verdict(finished, opening.opened),
            finished.operations,
            round(finished.seconds, 3),
            _without_folders(finished.problem),
            tuple(self._found(finding, files) for finding in finished.findings),
        )

    def _found(self, finding: Finding, files: Files) -> Found:
        path = files.path(finding)
        return Found(
            attrs.evolve(finding.divergence, traceback=None),  # which names folders of this machine
            len(finding.case.operations),
            finding.minimized,
            None if path is None else path.relative_to(self._folder).as_posix(),
        )


class Opening:
    """Listens whether the target was opened."""

    def __init__(self) -> None:
        self.opened = False

    def __call__(self, event: events.Event) -> None:
        self.opened = self.opened or isinstance(event, events.CampaignStarted)


def _cannot_be_had(release: str) -> str | None:
    """Fetches the release; why not, where that fails, which is nothing that the release says."""
    from hicache_impl.sglang import fetch

    try:
        fetch.unpacked(release)
    except (OSError, LookupError) as error:
        return _without_folders(str(error))
    return None


def _verdict(finished: events.CampaignFinished, opened: bool) -> str:
    if finished.verdict == events.ERROR:
        return NOT_RUN if opened else DOES_NOT_LOAD
    return DIVERGES if finished.findings else AGREES


def _without_folders(problem: str | None) -> str | None:
    """In one line, and without the place of our copy: a record is read elsewhere too."""
    return None if problem is None else _FOLDER.sub("", " ".join(problem.split()))


def _folder_of(cell: SweepCell) -> Path:
    return Path(cell.release, cell.cache, *filter(None, [cell.core]), cell.write_policy)


def _today() -> str:
    return datetime.now(timezone.utc).date().isoformat()
