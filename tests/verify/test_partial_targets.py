"""The comparison with a target that shows less, tried on planted bugs."""

from __future__ import annotations

from random import Random

import pytest

from hicache_impl.bugs import find
from hicache_model.observations import LEAF_SETS, LOCKS, ORDER, PINS
from hicache_verify.campaigns.canary import EquallyBlind
from hicache_verify.campaigns.cells import Cell
from hicache_verify.divergence import Divergence
from hicache_verify.lockstep import Lockstep
from hicache_verify.menu import RandomChooser
from hicache_verify.session import Session
from hicache_verify.sources.random_source import run_example
from hicache_verify.workers import journal as journals
from hicache_verify.workers.journal import Journal
from hicache_verify.workers.messages import Case, Found, Leg, Minimized, Reply

ALL = (LOCKS, PINS, LEAF_SETS, ORDER)


def laws(bug: str, unobserved: tuple[str, ...], policy: str = "write_back") -> set[str]:
    """The laws that a few examples with this bug break, for one who does not see that much."""
    heard: list[Reply] = []
    factory = EquallyBlind(find(bug).factory(), unobserved)
    leg = Leg(Cell(policy, 1, "lru"), "random", 0, None, None)
    keep = Journal(journals.make_file())

    def as_it_is(case: Case, divergence: Divergence) -> Minimized:
        return Minimized(divergence.key, case, divergence)

    session = Session(factory, keep, leg, send=heard.append, minimize=as_it_is)
    for number in range(20):
        run_example(session, leg.cell, RandomChooser(Random(number)))
    session.done()
    return {said.divergence.law for said in heard if isinstance(said, Found)}


@pytest.mark.parametrize(
    "bug",
    [
        *("insert-frees-what-it-filled", "load-mixes-up-its-nodes", "host-eviction-never-counts"),
        *("eviction-reports-nothing", "lookup-answers-from-memory", "reset-forgets-the-host-pool"),
    ],
)
def test_what_is_shown_is_compared(bug: str) -> None:
    assert laws(bug, ALL) & {find(bug).law, "answer", "transition"}


def test_a_wrong_leaf_set_is_found_by_what_it_leads_to() -> None:
    bug = "unlocked-node-stays-hidden"
    assert "device-leaves" in laws(bug, ())
    found = laws(bug, ALL)
    assert found
    assert not found & {"device-leaves", "host-leaves", "lock-balance", "sizes", "policy-order"}


def test_what_is_not_shown_is_not_compared() -> None:
    assert "lock-balance" in laws("pin-is-a-flag", ())
    assert "lock-balance" not in laws("pin-is-a-flag", ALL)


def test_a_sound_target_agrees_however_little_it_shows() -> None:
    from hicache_impl.native.target import NativeFactory
    from hicache_model.configuration import Configuration
    from hicache_model.operations import EvictDevice, Insert, Lock, Match

    for exact in (False, True):
        lockstep = Lockstep(EquallyBlind(NativeFactory(), ALL), Configuration(), exact=exact)
        for op in (Insert((1, 2)), Lock((1, 2)), Insert((1, 3)), Match((1,)), EvictDevice(1)):
            assert lockstep.step(op) is None
        assert lockstep.finish() is None
