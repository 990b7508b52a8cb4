"""The parent's side of an exploration: a worker explores, and a hang or a death is a divergence."""

from __future__ import annotations

import time
from collections.abc import Callable

import attrs

from hicache_model.configuration import Configuration
from hicache_verify import events
from hicache_verify.asking import ask, detail, open_worker, say
from hicache_verify.autopsy import Ending, judge
from hicache_verify.cannot_run import CannotRun
from hicache_verify.catalogue.resemblance import resembles
from hicache_verify.cells import Cell
from hicache_verify.executor import Executor
from hicache_verify.explore import Bound, Exploration, Found, Layer
from hicache_verify.findings import Finding, FoundAfter
from hicache_verify.messages import (
    Attempt,
    Attempted,
    Case,
    Explore,
    Explored,
    Layered,
    Opened,
    Reply,
)
from hicache_verify.replay import Step
from hicache_verify.targets import TargetSpec
from hicache_verify.watch import Limits

SOURCE = "exhaustive"


@attrs.frozen
class Explorations:
    """Where explorations run."""

    executor: Executor
    spec: TargetSpec
    limits: Limits

    def run(
        self,
        configuration: Configuration,
        bound: Bound,
        seconds: float | None,
        *,
        emit: events.Listener = lambda event: None,
        hear: Callable[[Layer], None] = lambda layer: None,
    ) -> tuple[Exploration, tuple[Finding, ...]]:
        """Explore; findings are emitted too. CannotRun where target or configuration cannot be."""
        began = time.monotonic()
        layers: list[Layer] = []

        def listen(reply: Reply) -> None:
            if isinstance(reply, Layered):
                layers.append(reply.layer)
                hear(reply.layer)

        worker, opened = open_worker(self.executor, self.spec)
        emit(self._started(opened, configuration, seconds))
        try:
            said = ask(worker, Explore(configuration, bound, seconds), hear=listen)
        finally:
            worker.close()
        if isinstance(said, Explored):
            exploration = said.exploration
        else:
            ended = self._ended(said)
            exploration = Exploration(bound, configuration, layers, [ended])
        findings = tuple(
            self._finding(number, found, exploration, opened, time.monotonic() - began)
            for number, found in enumerate(exploration.found, 1)
        )
        for finding in findings:
            emit(events.FindingFound(finding))
            emit(events.FindingSettled(finding))
        return exploration, findings

    def _started(
        self, opened: Opened, configuration: Configuration, seconds: float | None
    ) -> events.CampaignStarted:
        return events.CampaignStarted(
            target=opened.description,
            spec=self.spec,
            cells=(_cell(configuration),),
            left_out=(),
            seed=0,
            examples=None,
            budget=seconds,
            versions=opened.versions,
            seconds=0.0,
        )

    def _ended(self, said: Reply | Ending) -> Found:
        divergence = judge(said, self.limits) if isinstance(said, Ending) else None
        if divergence is None or not isinstance(said, Ending) or said.case is None:
            raise CannotRun(f"the exploration failed: {say(said)}", detail(said))
        return Found(divergence, said.case.operations)

    def _finding(
        self, number: int, found: Found, exploration: Exploration, opened: Opened, seconds: float
    ) -> Finding:
        case = Case(exploration.configuration, found.operations)
        after = FoundAfter(exploration.transitions, exploration.transitions, seconds)
        likeness = resembles(found.divergence, opened.description.release)
        divergence = attrs.evolve(found.divergence, resembles=likeness)
        cell = _cell(exploration.configuration)
        steps = () if divergence.kind in ("hang", "death") else self._steps(case)
        return Finding(number, cell, SOURCE, 0, divergence, case, after, True, 0, steps)

    def _steps(self, case: Case) -> tuple[Step, ...]:
        worker, _ = open_worker(self.executor, self.spec)
        try:
            said = ask(worker, Attempt(case, keep_steps=True))
        finally:
            worker.close()
        return said.steps if isinstance(said, Attempted) else ()


def _cell(configuration: Configuration) -> Cell:
    return Cell(configuration.write_policy, configuration.page_size, configuration.eviction_policy)
