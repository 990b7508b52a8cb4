"""Every campaign carries a canary: a planted bug that must be found."""

from __future__ import annotations

import pytest

from hicache_model.configuration import WRITE_POLICIES, Configuration
from hicache_model.observations import LEAF_SETS, LOCKS, ORDER, PINS
from hicache_verify import events
from hicache_verify.campaigns.canary import BUG, Canary
from hicache_verify.campaigns.cells import Cell
from hicache_verify.campaigns.plan import Plan
from hicache_verify.targets import TargetSpec
from hicache_verify.workers import journal as journals
from hicache_verify.workers.journal import Journal, JournalReader, Phase
from hicache_verify.workers.messages import Leg, Reply, Sung
from tests.verify.test_campaign import Ran

LAW = "device-leaves"
UNSEEN = (LOCKS, PINS, LEAF_SETS, ORDER)


class Heard:
    """A canary beside a journal, and what it sang."""

    def __init__(
        self,
        cell: Cell,
        seed: int = 0,
        after: int | None = 0,
        every: int = 100,
        unobserved: tuple[str, ...] = (),
    ) -> None:
        fd = journals.make_file()
        self.journal, self.reader = Journal(fd), JournalReader(fd)
        self.said: list[Reply] = []
        leg = Leg(cell, "random", seed, None, None, canary_after=after, canary_every=every)
        self.canary = Canary(leg, self.journal, self.said.append, unobserved)


@pytest.mark.parametrize("write_policy", WRITE_POLICIES)
@pytest.mark.parametrize(("page_size", "eviction_policy"), [(1, "lru"), (4, "slru"), (16, "mru")])
def test_it_is_found_in_every_cell(write_policy: str, page_size: int, eviction_policy: str) -> None:
    for seed in range(5):
        heard = Heard(Cell(write_policy, page_size, eviction_policy), seed)
        heard.canary.look()
        (song,) = heard.said
        assert isinstance(song, Sung)
        assert (song.bug, song.law, song.found) == (BUG, LAW, True)


@pytest.mark.parametrize("write_policy", WRITE_POLICIES)
@pytest.mark.parametrize(("page_size", "eviction_policy"), [(1, "lru"), (4, "slru"), (16, "mru")])
def test_it_is_found_by_one_who_sees_no_leaf_sets(
    write_policy: str, page_size: int, eviction_policy: str
) -> None:
    for seed in range(5):
        heard = Heard(Cell(write_policy, page_size, eviction_policy), seed, unobserved=UNSEEN)
        heard.canary.look()
        (song,) = heard.said
        assert isinstance(song, Sung)
        assert (song.bug, song.found) == (BUG, True)


def test_a_policy_that_is_the_users_code_cannot_silence_it() -> None:
    heard = Heard(Cell("write_back", 1, "broken.py:policy"))
    heard.canary.look()
    assert [isinstance(song, Sung) and song.found for song in heard.said] == [True]


def test_it_sings_at_once_and_then_at_intervals() -> None:
    heard = Heard(Cell("write_back", 1, "lru"), after=2, every=3)
    sung = []
    for _ in range(9):
        heard.canary.look()
        sung.append(len(heard.said))
    assert sung == [0, 0, 1, 1, 1, 2, 2, 2, 3]


def test_it_leaves_nothing_in_the_journal() -> None:
    heard = Heard(Cell("write_back", 1, "lru"))
    heard.journal.begin(Configuration())
    heard.canary.look()
    entry, pulse = heard.reader.entry(), heard.reader.pulse()
    assert (entry.configuration, entry.operations) == (None, ())
    assert (pulse.examples, pulse.operations, pulse.phase) == (1, 0, Phase.IDLE)


def test_one_example_in_so_many_is_a_canary_and_counts_for_nothing_else() -> None:
    with_it, without = Ran("corrupts", canary_every=5, examples=23), Ran("corrupts", examples=23)
    assert with_it.result.canaries == events.Canaries(run=5, found=5)
    assert without.result.canaries == events.Canaries()
    assert with_it.result.examples == 23
    assert with_it.result.operations == without.result.operations
    assert with_it.only.case == without.only.case


def test_the_first_canary_sings_in_the_shortest_campaign_and_once_among_several_workers() -> None:
    assert Plan(TargetSpec()).canary_every == 100
    ran = Ran("agrees", canary_every=100, examples=2, workers=2)
    assert ran.result.canaries == events.Canaries(run=1, found=1)


def test_a_campaign_whose_harness_is_blind_fails_and_says_why() -> None:
    ran = Ran("blinds", canary_every=100)
    assert ran.result.verdict == events.ERROR
    assert ran.result.canaries == events.Canaries(run=1, found=0)
    problem = ran.result.problem or ""
    assert problem.startswith(f"the canary stayed silent: the planted bug {BUG} breaks {LAW}")


def test_what_ends_a_process_while_the_canary_sings_is_not_held_against_the_target() -> None:
    ran = Ran("kills_canaries", canary_every=100)
    assert ran.result.findings == ()
    assert ran.result.verdict == events.ERROR
    assert "3 workers failed" in (ran.result.problem or "")
