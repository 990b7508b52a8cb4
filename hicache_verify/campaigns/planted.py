"""Looks for each planted bug of our own cache: one campaign for each, several at a time.

A bug counts as found when the first divergence has the law that the bug says it breaks.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed

import attrs

from hicache_impl.bugs import Bug
from hicache_verify.campaigns.campaign import Campaign
from hicache_verify.campaigns.cells import Cell, Selection
from hicache_verify.campaigns.plan import RANDOM, Plan
from hicache_verify.cannot_run import CannotRun
from hicache_verify.events import Event
from hicache_verify.findings import Finding
from hicache_verify.targets import NATIVE, TargetSpec
from hicache_verify.workers.executor import Executor


@attrs.frozen
class Hunted:
    """What came of looking for a bug: its first finding, or None after all those operations.

    ``seconds`` count from the start of its worker, which takes most of them for a quick bug.
    """

    bug: Bug
    finding: Finding | None
    operations: int
    seconds: float

    @property
    def law(self) -> str | None:
        return None if self.finding is None else self.finding.divergence.law

    @property
    def found(self) -> bool:
        return self.law == self.bug.law

    @property
    def trace_length(self) -> int | None:
        """Operations of the minimized trace."""
        return None if self.finding is None else len(self.finding.case.operations)


def cell_of(bug: Bug, write_policy: str | None = None) -> Cell:
    """Where it is looked for, or another cell in which it shows."""
    policy = write_policy or bug.write_policies[0]
    kind = bug.strip_thinking, bug.bigram
    return Cell(policy, bug.page_size, bug.eviction_policy, "full", *kind)


def plan_for(bug: Bug, seed: int, budget: float) -> Plan:
    """The fast source in the cell where the bug shows, up to the first divergence."""
    cell = (bug.write_policies[0],), (bug.page_size,), (bug.eviction_policy,)
    selection = Selection(*cell, strip_thinking=bug.strip_thinking, bigram=bug.bigram)
    return Plan(
        spec=TargetSpec(NATIVE, bug=bug.identifier),
        selection=selection,
        seed=seed,
        budget=budget,
        first=True,
        sources=(RANDOM,),
    )


def hunt(
    bugs: Sequence[Bug], executor: Executor, *, seed: int, budget: float, workers: int
) -> Iterator[Hunted]:
    """Each bug as it is done, ``budget`` seconds for each; CannotRun where a campaign cannot."""
    over = threading.Event()
    with ThreadPoolExecutor(workers) as pool:
        hunts = [
            pool.submit(_hunt, bug, plan_for(bug, seed, budget), executor, over.is_set)
            for bug in bugs
        ]
        try:
            for done in as_completed(hunts):
                yield done.result()
        finally:
            over.set()
            pool.shutdown(wait=False, cancel_futures=True)


def _hunt(bug: Bug, plan: Plan, executor: Executor, is_over: Callable[[], bool]) -> Hunted:
    finished = Campaign(plan, executor, lambda event: _heed(event, is_over)).run()
    if finished.problem is not None or finished.interrupted:
        raise CannotRun(f"bug {bug.identifier}: {finished.problem or 'interrupted'}")
    finding = next(iter(finished.findings), None)
    if finding is None:
        return Hunted(bug, None, finished.operations, finished.seconds)
    after = finding.found_after
    return Hunted(bug, finding, after.operations, after.seconds)


def _heed(event: Event, is_over: Callable[[], bool]) -> None:
    """Ends a campaign that nobody waits for any more."""
    if is_over():
        raise KeyboardInterrupt
