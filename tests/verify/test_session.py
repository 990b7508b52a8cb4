from __future__ import annotations

from collections.abc import Callable

import pytest

from hicache_model.configuration import Configuration
from hicache_model.operations import BeginRequest, EvictDevice, Insert, Match, Operation
from hicache_verify.campaigns.cells import Cell
from hicache_verify.divergence import Divergence
from hicache_verify.session import MOST_TRIES, TRIES, Session, TimeIsUp, promises_shorter
from hicache_verify.workers import journal as journals
from hicache_verify.workers.guard import RefusedConfiguration
from hicache_verify.workers.journal import Journal
from hicache_verify.workers.messages import Case, Found, Known, Leg, Minimized, Reply
from tests.verify import hostile
from tests.verify.mimic import Factory

CELL = Cell("write_back", 1, "lru")


class Told:
    """A session and what it said."""

    def __init__(
        self, factory: Factory, *, deadline: float | None = None, first: bool = False
    ) -> None:
        self.said: list[Reply] = []
        self.session = Session(
            factory,
            Journal(journals.make_file()),
            Leg(CELL, "random", 0, None, None, first=first),
            send=self.said.append,
            minimize=self._minimize,
            deadline=deadline,
        )

    def _minimize(self, case: Case, divergence: Divergence) -> Minimized:
        return Minimized(divergence.key, case, divergence)

    def example(self) -> Divergence | None:
        self.session.start(Configuration())
        for op in (Insert((1, 2, 3)), EvictDevice(3)):
            found = self.session.step(op)
            if found is not None:
                break
        self.session.end()
        return found


def test_a_finding_is_told_at_once_with_its_whole_trace_and_minimized_at_the_end() -> None:
    told = Told(hostile.raises())
    told.session.start(Configuration())
    told.session.step(Insert((1, 2, 3)))
    told.session.step(EvictDevice(3))
    (found,) = told.said
    assert isinstance(found, Found)
    assert found.case.operations == (Insert((1, 2, 3)), EvictDevice(3))
    assert found.divergence.exception == "KeyError"
    told.session.end()
    assert isinstance(told.said[1], Minimized)


def test_each_distinct_divergence_is_told_once_and_counted() -> None:
    told = Told(hostile.raises())
    for _ in range(3):
        assert told.example() is not None
    assert [type(reply) for reply in told.said] == [Found, Minimized]  # two operations are short
    (repeats,) = told.session.done().repeats
    assert repeats[1] == 2


REQUEST = BeginRequest(0, (1, 2), 2)


@pytest.mark.parametrize(
    ("performed", "known", "promises"),
    [
        ((Match((1,)),) * 9, Known(length=5, requests=False, tries=TRIES - 1), True),
        ((Match((1,)),) * 9, Known(length=5, requests=False, tries=TRIES), False),
        ((Match((1,)),) * 9, Known(length=5, requests=True, tries=TRIES), True),
        ((Match((1,)),) * 9, Known(length=5, requests=True, tries=MOST_TRIES), False),
        ((REQUEST,) * 9, Known(length=5, requests=True, tries=TRIES), False),
        ((Match((1,)),) * 4, Known(length=5, requests=False, tries=MOST_TRIES), True),
        ((Match((1,)),) * 9, Known(length=3, requests=True, tries=1), False),
    ],
)
def test_another_case_is_minimized_where_it_promises_a_shorter_trace(
    performed: tuple[Operation, ...], known: Known, promises: bool
) -> None:
    assert promises_shorter(Case(Configuration(), performed), known) is promises


def test_an_example_that_diverged_stays_so_until_its_end() -> None:
    told = Told(hostile.raises())
    told.session.start(Configuration())
    told.session.step(Insert((1, 2, 3)))
    first = told.session.step(EvictDevice(3))
    assert first is not None
    assert told.session.step(Insert((4,))) is first


def test_first_stops_after_the_first_finding() -> None:
    told = Told(hostile.raises(), first=True)
    assert not told.session.stop()
    told.example()
    assert told.session.stop()


def test_a_leg_whose_time_is_up_begins_no_example() -> None:
    with pytest.raises(TimeIsUp):
        Told(hostile.agrees(), deadline=0.0).session.start(Configuration())


@pytest.mark.parametrize(
    ("factory", "exception"),
    [
        (hostile.leaves, "SystemExit"),
        (hostile.recurses, "RecursionError"),
        (hostile.runs_out, "MemoryError"),
        (hostile.ends, "GeneratorExit"),
    ],
)
def test_whatever_a_target_raises_is_a_crash(
    factory: Callable[[], Factory], exception: str
) -> None:
    found = Told(factory()).example()
    assert found is not None
    assert (found.kind, found.law, found.exception) == ("crash", "no-crash", exception)
    assert found.place is not None
    assert found.place.startswith("tests.verify.hostile:")


def test_a_cache_that_cannot_be_built_is_a_finding_of_the_first_step() -> None:
    told = Told(hostile.cannot_build())
    lockstep = told.session.start(Configuration())
    assert lockstep.model is not None
    found = told.session.step(Insert((1,)))
    assert found is not None
    assert "no memory for the pools" in found.message


def test_a_configuration_that_the_target_refuses_is_a_mistake_of_the_source() -> None:
    with pytest.raises(RefusedConfiguration, match="too small"):
        Told(hostile.refuses()).session.start(Configuration())


def test_ctrl_c_is_no_finding_where_it_can_reach() -> None:
    with pytest.raises(KeyboardInterrupt):
        Told(hostile.interrupts()).example()
