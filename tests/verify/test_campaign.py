from __future__ import annotations

import re
import time
from typing import Any, TypeVar

import pytest

from hicache_model.operations import EvictDevice
from hicache_verify import events
from hicache_verify.campaigns.campaign import Campaign
from hicache_verify.campaigns.cells import Selection
from hicache_verify.campaigns.plan import Plan
from hicache_verify.findings import Finding
from hicache_verify.targets import TargetSpec
from hicache_verify.workers.executor import LocalExecutor
from hicache_verify.workers.watch import Limits

LIMITS = Limits(operation=0.5, memory=1 << 30, isolated_operation=0.2, isolated_minimizing=4)

Kind = TypeVar("Kind")


class Ran:
    """A campaign on one of the hostile targets, and everything that it emitted."""

    def __init__(self, target: str, *, interrupt_at: type | None = None, **plan: Any) -> None:
        options: dict[str, Any] = {
            "examples": 12,
            "budget": None,
            "sources": ("random",),
            "limits": LIMITS,
            "canary_every": None,  # they import torch, and have tests of their own
            **plan,
        }
        self.events: list[events.Event] = []
        self._interrupt_at = interrupt_at
        spec = TargetSpec(f"tests.verify.hostile:{target}")
        began = time.monotonic()
        campaign = Campaign(Plan(spec, **options), LocalExecutor(options["limits"]), self._listen)
        self.result = campaign.run()
        self.seconds = time.monotonic() - began

    def _listen(self, event: events.Event) -> None:
        self.events.append(event)
        if self._interrupt_at is not None and isinstance(event, self._interrupt_at):
            self._interrupt_at = None
            raise KeyboardInterrupt

    def of(self, kind: type[Kind]) -> list[Kind]:
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def only(self) -> Finding:
        (finding,) = self.result.findings
        return finding


def test_a_target_that_agrees_agrees() -> None:
    ran = Ran("agrees", selection=Selection(("all",), (1, 4), ("lru",)))
    assert ran.result.verdict == events.AGREE
    assert ran.result.examples == 6 * 12
    assert len(ran.of(events.CellFinished)) == 6
    assert isinstance(ran.events[-1], events.CampaignFinished)


@pytest.mark.parametrize(
    ("target", "kind", "law", "exception"),
    [
        ("raises", "crash", "no-crash", "KeyError"),
        ("leaves", "crash", "no-crash", "SystemExit"),
        ("interrupts", "crash", "no-crash", "KeyboardInterrupt"),
        ("corrupts", "law", "conservation", None),
        ("exits", "death", "no-death", "exit code 3"),
        ("is_killed", "death", "no-death", "SIGKILL"),
        ("crashes", "death", "no-death", "SIGSEGV"),
        ("loops", "hang", "no-hang", "no answer"),
    ],
)
def test_whatever_a_target_does_is_a_finding_with_the_shortest_trace(
    target: str, kind: str, law: str, exception: str | None
) -> None:
    ran = Ran(target, first=True)
    found = ran.only.divergence
    assert (found.kind, found.law, found.exception) == (kind, law, exception)
    assert ran.only.minimized
    assert kind != "hang" or found.place == "hostile:spin"  # the function that loops
    assert ran.only.case.operations == (EvictDevice(2),)
    assert [step.operation for step in ran.only.steps] == [EvictDevice(2)]
    assert ran.result.verdict == events.DIVERGED


def test_a_finding_is_emitted_before_it_is_minimized() -> None:
    ran = Ran("exits", first=True)
    kinds = [
        type(e) for e in ran.events if isinstance(e, (events.FindingFound, events.FindingSettled))
    ]
    assert kinds == [events.FindingFound, events.FindingSettled]


def test_a_process_that_keeps_dying_the_same_way_is_given_up() -> None:
    ran = Ran("exits", examples=1000)
    (cell,) = ran.of(events.CellFinished)
    assert cell.abandoned == f"no-death has ended {LIMITS.deaths_per_key} workers"
    assert len(ran.of(events.WorkerLost)) == LIMITS.deaths_per_key
    assert ran.only.repeats == LIMITS.deaths_per_key - 1


def test_after_a_death_another_worker_goes_on_with_other_examples() -> None:
    ran = Ran("dies_once_in_a_while", examples=60)
    assert ran.result.verdict == events.DIVERGED
    assert ran.result.examples > 1
    assert len(ran.of(events.WorkerLost)) > 1


def test_a_death_that_comes_late_is_a_finding_all_the_same() -> None:
    found = Ran("dies_later", first=True, examples=2000).only
    assert (found.divergence.kind, found.divergence.exception) == ("death", "SIGKILL")


def test_a_cache_whose_construction_hangs_is_a_finding_without_operations() -> None:
    found = Ran("hangs_while_building", first=True).only
    assert (found.divergence.kind, found.divergence.operation) == ("hang", None)
    assert found.divergence.message.startswith("the construction does not return")
    assert found.case.operations == ()


def test_memory_without_end_is_a_death() -> None:
    limits = Limits(memory=400 << 20, isolated_minimizing=0.1)
    found = Ran("devours", first=True, limits=limits).only.divergence
    assert (found.kind, found.exception) == ("death", "memory")


def test_a_death_while_minimizing_loses_only_the_minimization() -> None:
    ran = Ran("dies_when_minimized", first=True)
    found = ran.result.findings[0]
    assert found.divergence.law == "conservation"
    assert len(ran.of(events.FindingFound)) == len(ran.of(events.FindingSettled))


def test_first_stops_at_the_first_finding() -> None:
    ran = Ran("raises", first=True, examples=1000)
    assert ran.result.examples < 1000
    assert len(ran.result.findings) == 1


def test_hypothesis_finds_it_too() -> None:
    ran = Ran("corrupts", first=True, sources=("hypothesis",), examples=50)
    assert ran.only.source == "hypothesis"
    assert ran.only.case.operations == (EvictDevice(2),)


def test_a_budget_is_kept_and_divided_over_the_cells() -> None:
    selection = Selection(("all",), (1,), ("lru",))
    ran = Ran("agrees", examples=None, budget=1.5, selection=selection)
    assert ran.seconds < 8
    assert all(c.examples > 0 for c in ran.events if isinstance(c, events.CellFinished))


def test_a_cell_for_which_no_time_is_left_is_looked_at_all_the_same() -> None:
    selection = Selection(("all",), (1, 4), ("lru", "mru"))
    ran = Ran("agrees", examples=None, budget=0.01, selection=selection)
    cells = [cell for cell in ran.events if isinstance(cell, events.CellFinished)]
    assert len(cells) == 12
    assert all(cell.examples > 0 for cell in cells)


def test_the_same_seed_gives_the_same_findings() -> None:
    first, second = Ran("corrupts", seed=5), Ran("corrupts", seed=5)
    assert [_same(f) for f in first.result.findings] == [_same(f) for f in second.result.findings]
    assert first.result.operations == second.result.operations
    assert Ran("corrupts", seed=6).result.operations != first.result.operations


def _same(finding: Finding) -> tuple[object, ...]:
    after = finding.found_after
    return finding.divergence, finding.case, after.examples, after.operations, finding.repeats


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("cannot_open", "there is no such mimic"),
        ("dies_opening", r"its process ended \(exit code 7\)"),
        ("nothing_like_this", "cannot be imported"),
        ("refuses", "the host pool is too small"),
    ],
)
def test_what_cannot_be_run_is_a_problem_and_no_verdict(target: str, says: str) -> None:
    result = Ran(target).result
    assert result.verdict == events.ERROR
    assert result.problem is not None
    assert re.search(says, result.problem)


def test_a_policy_that_the_target_lacks_is_left_out_of_all_and_refused_by_name() -> None:
    everything = Selection(("write_back",), (1,), ("all",))
    (started,) = Ran("without_slru", selection=everything).of(events.CampaignStarted)
    assert started.left_out == ("slru",)
    assert len(started.cells) == 7
    by_name = Ran("without_slru", selection=Selection(("write_back",), (1,), ("slru",)))
    assert "has lru, lfu" in (by_name.result.problem or "")


def test_a_target_that_cannot_strip_thoughts_is_not_run_as_if_it_could() -> None:
    result = Ran("without_slru", selection=Selection(strip_thinking=True)).result
    assert result.problem is not None
    assert result.problem.endswith(" cannot strip thoughts")


def test_interrupted_it_reports_what_was_found() -> None:
    ran = Ran("corrupts", interrupt_at=events.FindingSettled, examples=1000)
    assert ran.result.interrupted
    assert ran.result.verdict == events.DIVERGED
    assert ran.only.divergence.law == "conservation"


def test_interrupted_without_a_finding_it_has_not_agreed() -> None:
    ran = Ran("agrees", interrupt_at=events.Progress, examples=100_000)
    assert ran.result.interrupted
    assert ran.result.verdict == events.ERROR
