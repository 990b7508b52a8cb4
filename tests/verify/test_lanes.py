"""Several workers in one campaign."""

from __future__ import annotations

import threading

import pytest

from hicache_model.operations import EvictDevice
from hicache_verify import events
from hicache_verify.campaigns.cells import Cell, Selection
from hicache_verify.campaigns.plan import Share
from hicache_verify.campaigns.seeds import derive
from hicache_verify.campaigns.together import together
from tests.verify.test_campaign import Ran

CELL = Cell("write_back", 1, "lru")


def test_the_examples_of_a_cell_are_divided_among_the_workers() -> None:
    selection = Selection(("all",), (1,), ("lru",))
    ran = Ran("agrees", workers=3, examples=13, selection=selection)
    assert ran.result.verdict == events.AGREE
    assert [cell.examples for cell in ran.of(events.CellFinished)] == [13] * 3


@pytest.mark.parametrize("examples", [0, 1, 12, 13])
def test_the_parts_of_a_share_are_the_whole(examples: int) -> None:
    whole = Share("random", examples, 7.0)
    parts = [whole.part(number, 5) for number in range(5)]
    assert sum(part.examples or 0 for part in parts) == examples
    assert {part.until for part in parts} == {7.0}
    assert Share("random", None, 7.0).part(3, 5) == Share("random", None, 7.0)


def test_no_two_lanes_draw_the_same_and_the_first_draws_what_one_alone_does() -> None:
    seeds = [derive(0, CELL, "random", 0, lane) for lane in range(8)]
    assert len(set(seeds)) == 8
    assert seeds[0] == derive(0, CELL, "random", 0)


def test_what_several_workers_find_is_one_finding_with_the_shortest_trace() -> None:
    ran = Ran("corrupts", workers=3, examples=30)
    assert len(ran.of(events.FindingFound)) == 1
    assert ran.only.case.operations == (EvictDevice(2),)
    assert ran.only.repeats >= 2  # by the two others at least
    assert ran.result.examples == 30


@pytest.mark.usefixtures("nothing_left_running")
@pytest.mark.parametrize(
    ("target", "kind"), [("loops", "hang"), ("exits", "death"), ("raises", "crash")]
)
def test_first_ends_all_workers_at_the_first_finding(target: str, kind: str) -> None:
    ran = Ran(target, workers=3, first=True, examples=100_000)
    assert ran.only.divergence.kind == kind
    assert ran.only.minimized
    assert ran.result.examples < 100_000


def test_processes_that_keep_dying_are_given_up_in_every_lane() -> None:
    ran = Ran("exits", workers=2, examples=1000)
    (cell,) = ran.of(events.CellFinished)
    assert "no-death has ended" in (cell.abandoned or "")
    assert ran.only.repeats == len(ran.of(events.WorkerLost)) - 1


@pytest.mark.usefixtures("nothing_left_running")
def test_what_no_worker_can_run_ends_them_all() -> None:
    ran = Ran("refuses", workers=3)
    assert ran.result.verdict == events.ERROR
    assert "the host pool is too small" in (ran.result.problem or "")


@pytest.mark.usefixtures("nothing_left_running")
@pytest.mark.parametrize("moment", [events.Progress, events.FindingFound])
def test_interrupted_all_workers_end(moment: type) -> None:
    ran = Ran("corrupts", workers=3, interrupt_at=moment, examples=100_000)
    assert ran.result.interrupted


# -- threads ---------------------------------------------------------------------------------------


def test_together_returns_what_each_returned() -> None:
    found = together([lambda: 1, lambda: 2], idle=lambda: None, stop=lambda: None)
    assert found == [1, 2]


@pytest.mark.parametrize("mistake", [KeyboardInterrupt, ValueError])
def test_what_one_task_raises_ends_the_others_and_comes_out(mistake: type) -> None:
    stop = threading.Event()

    def fail() -> None:
        raise mistake

    def wait() -> None:
        assert stop.wait(30)

    with pytest.raises(mistake):
        together([wait, fail, wait], idle=lambda: None, stop=stop.set)
    assert stop.is_set()


def test_what_is_raised_meanwhile_ends_the_tasks() -> None:
    stop = threading.Event()

    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        together([lambda: stop.wait(30)], idle=interrupt, stop=stop.set)
    assert stop.is_set()
