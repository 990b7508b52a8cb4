"""Explorations of one target, a configuration after another, with what they found as findings."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import attrs

from hicache_impl.target import Description
from hicache_model.configuration import Configuration
from hicache_verify import events
from hicache_verify.campaigns.cells import BadCell, Cell, Selection
from hicache_verify.cannot_run import CannotRun
from hicache_verify.catalogue.resemblance import likened
from hicache_verify.exploration.bound import Bound
from hicache_verify.exploration.crew import Crew
from hicache_verify.exploration.explore import Exploration, Found, Hear, Layer, Search, State
from hicache_verify.findings import Finding, FoundAfter
from hicache_verify.replay import Step
from hicache_verify.targets import TargetSpec
from hicache_verify.workers.executor import Executor
from hicache_verify.workers.messages import Attempt, Attempted, Case, Expand, Opened
from hicache_verify.workers.watch import Limits

SOURCE = "exhaustive"
DEVICE_PAGES, HOST_PAGES = 2, 3
MOST_LISTS = 1024


@attrs.frozen
class Explorations:
    """What is to be explored. ``seconds`` are for all configurations together.

    Pools are counted in tokens; by default they hold two pages on the device and three on the host.
    Raises ValueError for pools that no cache can have.
    """

    spec: TargetSpec
    bound: Bound
    selection: Selection = attrs.field(factory=Selection)
    device_slots: int | None = None
    host_slots: int | None = None
    seconds: float | None = None
    workers: int = 1
    limits: Limits = attrs.field(factory=Limits)

    def __attrs_post_init__(self) -> None:
        for size in self.selection.page_sizes:
            configuration = self.configuration(Cell("write_back", size, "lru"))
            self._refuse_too_many(configuration.device_slots // size)

    def _refuse_too_many(self, pages: int) -> None:
        """Every list of pages, with a token more for the last pair, is inserted in every state."""
        ids, lists, length = self.bound.tokens, 0, 0
        while length < pages and lists <= MOST_LISTS:
            length += 1
            lists += ids ** (length + self.selection.bigram)
        if lists > MOST_LISTS:
            raise ValueError(
                f"{ids} token ids on a device of {pages} pages make more than {MOST_LISTS:,} lists "
                f"to insert in each state; use fewer --device-slots or --tokens"
            )

    def configuration(self, cell: Cell) -> Configuration:
        device, host = self.device_slots, self.host_slots
        configuration = Configuration(
            write_policy=cell.write_policy,
            eviction_policy=cell.eviction_policy,
            page_size=cell.page_size,
            device_slots=DEVICE_PAGES * cell.page_size if device is None else device,
            host_slots=HOST_PAGES * cell.page_size if host is None else host,
            strip_thinking=cell.strip_thinking,
            bigram=cell.bigram,
        )
        if cell.component == "full":
            return configuration
        return configuration.with_(
            component=cell.component,
            component_slots=DEVICE_PAGES * cell.page_size,
            window=cell.page_size,
            state_buffers=0 if cell.page_size == 1 else 1,
            track_interval=cell.page_size,
        )


@attrs.define
class Result:
    """What the explorations came to; ``problem`` says in one line why that is nothing."""

    target: Description | None = None
    explorations: list[Exploration] = attrs.field(factory=list)
    findings: list[Finding] = attrs.field(factory=list)
    interrupted: bool = False
    problem: str | None = None

    @property
    def verdict(self) -> str:
        """An exploration that proved nothing, or was interrupted, has not agreed."""
        if self.findings:
            return events.DIVERGED
        return events.ERROR if self.problem or self.interrupted else events.AGREE

    @property
    def sentence(self) -> str:
        return "; ".join(exploration.sentence() for exploration in self.explorations)


class Explorer:
    """Does one thing, once. ``emit`` hears of findings and progress, ``hear`` of each layer."""

    def __init__(
        self,
        asked: Explorations,
        executor: Executor,
        *,
        emit: events.Listener = lambda event: None,
        hear: Callable[[Cell, Layer], None] = lambda cell, layer: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._asked = asked
        self._emit = emit
        self._hear = hear
        self._clock = clock
        self._began = clock()
        self._until: float | None = None
        self._search: Search | None = None
        self._cell: Cell | None = None
        self._crew = Crew(executor, asked.spec, asked.limits, asked.workers, self._progress)
        self._result = Result()

    def run(self) -> Result:
        """CannotRun where target or configuration cannot be."""
        result = self._result
        try:
            self._explore(self._open())
        except KeyboardInterrupt:
            result.interrupted = True
        finally:
            self._crew.close()
        nothing = not all(exploration.depth for exploration in result.explorations)
        if nothing and not result.findings and not result.interrupted:
            result.problem = "time was up before all single operations were tried"
        return result

    def _open(self) -> tuple[Opened, tuple[Cell, ...]]:
        asked = self._asked
        self._emit(events.TargetOpening(asked.spec))
        opened = self._crew.open()
        self._result.target = opened.description
        try:
            cells = asked.selection.expand(opened.description)
        except BadCell as error:
            raise CannotRun(str(error)) from error
        self._emit(
            events.CampaignStarted(
                target=opened.description,
                spec=asked.spec,
                cells=cells,
                left_out=asked.selection.left_out(opened.description),
                seed=0,
                examples=None,
                budget=asked.seconds,
                versions=opened.versions,
                seconds=self._seconds(),
                workers=asked.workers,
            )
        )
        return opened, cells

    def _explore(self, target: tuple[Opened, tuple[Cell, ...]]) -> None:
        opened, cells = target
        end = None if self._asked.seconds is None else self._clock() + self._asked.seconds
        for number, cell in enumerate(cells, 1):
            now, left = self._clock(), len(cells) - number + 1
            self._until = None if end is None else now + max(0.0, end - now) / left
            self._emit(events.CellStarted(cell, number, len(cells)))
            exploration = self._search_in(cell)
            for found in exploration.found:
                self._tell(self._finding(found, cell, exploration, opened))
            if exploration.interrupted:
                raise KeyboardInterrupt

    def _search_in(self, cell: Cell) -> Exploration:
        configuration, bound = self._asked.configuration(cell), self._asked.bound

        def job(batch: tuple[State, ...]) -> Expand | None:
            seconds = None if self._until is None else self._until - self._clock()
            if seconds is not None and seconds <= 0:
                return None
            return Expand(configuration, bound, batch, seconds)

        def expand(states: Sequence[State], hear: Hear) -> None:
            self._crew.expand(states, hear, job)

        self._cell = cell
        self._search = Search(
            configuration, bound, expand, emit=lambda layer: self._hear(cell, layer)
        )
        self._result.explorations.append(self._search.result)
        return self._search.run()

    def _progress(self) -> None:
        search, cell = self._search, self._cell
        if search is None or cell is None:
            return
        depth = f"depth {len(search.result.layers) + 1}"
        counts = search.states, search.transitions
        self._emit(events.Progress(cell, depth, self._seconds(), *counts, False))

    def _seconds(self) -> float:
        return self._clock() - self._began

    # -- findings ----------------------------------------------------------------------------------

    def _tell(self, finding: Finding) -> None:
        self._result.findings.append(finding)
        self._emit(events.FindingFound(finding))
        self._emit(events.FindingSettled(finding))

    def _finding(
        self, found: Found, cell: Cell, exploration: Exploration, opened: Opened
    ) -> Finding:
        target = opened.description
        case = Case(exploration.configuration, found.operations)
        where = target.release, target.target, case.configuration
        divergence = likened(found.divergence, *where)
        after = FoundAfter(exploration.transitions, exploration.transitions, self._seconds())
        fatal = divergence.kind in ("hang", "death")
        steps = () if fatal or exploration.interrupted else self._steps(case)
        number = len(self._result.findings) + 1
        return Finding(number, cell, SOURCE, 0, divergence, case, after, True, 0, steps)

    def _steps(self, case: Case) -> tuple[Step, ...]:
        said = self._crew.ask(Attempt(case, keep_steps=True))
        return said.steps if isinstance(said, Attempted) else ()
