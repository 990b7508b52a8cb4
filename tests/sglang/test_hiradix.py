"""What each operation does to the real cache, worked out by hand from the releases' sources.

Counted in pages: the same must hold for every page size (test_hiradix_child.py has the notation).
"""

from __future__ import annotations

from typing import Any

import pytest

from hicache_impl.sglang.releases import Range
from hicache_model.operations import (
    CompleteLoads,
    CompleteWrites,
    EvictDevice,
    EvictHost,
    Insert,
    LoadBack,
    Lock,
    LockHost,
    Match,
    Reset,
    StartLoads,
    Unlock,
    UnlockHost,
)
from hicache_model.outcomes import (
    Done,
    Evicted,
    Inserted,
    LoadedBack,
    LoadsStarted,
    Matched,
    OutOfMemory,
)
from tests.sglang.test_hiradix_child import Raised, Step, pages, releases, run, run_anyway, sizes

BACK, THROUGH, SELECTIVE = "write_back", "write_through", "write_through_selective"

each_page = pytest.mark.parametrize("page", [1, 4])
each_release = pytest.mark.parametrize("version", releases())
each_policy = pytest.mark.parametrize("policy", [BACK, THROUGH, SELECTIVE])


def outcomes(steps: list[Step]) -> list[Any]:
    return [step.outcome for step in steps]


@each_release
@each_page
class TestInsert:
    @pytest.mark.parametrize(
        ("policy", "nodes", "host_free"),
        [
            (BACK, {"1 2 3 4": "device D"}, 12),
            (THROUGH, {"1 2 3 4": "device host? lock=1 hits=1"}, 8),
            (SELECTIVE, {"1 2 3 4": "device hits=1 D"}, 12),
        ],
    )
    def test_gives_one_node_and_backs_it_up_at_its_first_hit_only_under_write_through(
        self, version: str, page: int, policy: str, nodes: dict[str, str], host_free: int
    ) -> None:
        (step,) = run(version, sizes(page, write_policy=policy), Insert(pages(page, 1, 2, 3, 4)))
        assert step.outcome == Inserted(0)
        assert step.nodes == nodes
        assert (step["device free"], step["host free"]) == (4, host_free)
        assert step["device slots"] == {"1 2 3 4": list(pages(page, 1, 2, 3, 4))}
        assert step["transfers"] == (["write of 4: 1 2 3 4"] if policy == THROUGH else [])

    @pytest.mark.parametrize(
        ("policy", "nodes", "sizes_after", "host_free"),
        [
            (BACK, {"1 2": "device", "1 2 3 4": "device D", "1 2 5": "device D"}, (5, 0), 12),
            (
                THROUGH,
                {
                    "1 2": "device host? lock=2 hits=2",
                    "1 2 3 4": "device host? lock=1 hits=1",
                    "1 2 5": "device host? lock=1 hits=1",
                },
                (0, 5),
                7,
            ),
            (
                SELECTIVE,
                {
                    "1 2": "device host? lock=1 hits=2",
                    "1 2 3 4": "device hits=1 D",
                    "1 2 5": "device hits=1 D",
                },
                (3, 2),
                10,
            ),
        ],
    )
    def test_that_ends_inside_a_node_splits_it_and_frees_the_duplicates(
        self,
        version: str,
        page: int,
        policy: str,
        nodes: dict[str, str],
        sizes_after: tuple[int, int],
        host_free: int,
    ) -> None:
        script = Insert(pages(page, 1, 2, 3, 4)), Insert(pages(page, 1, 2, 5))
        _, step = run(version, sizes(page, write_policy=policy), *script)
        assert step.outcome == Inserted(2 * page)
        assert step.nodes == nodes
        assert (step["evictable"], step["protected"]) == sizes_after
        assert (step["device free"], step["host free"]) == (3, host_free)

    def test_of_a_chunk_counts_no_hit(self, version: str, page: int) -> None:
        script = Insert(pages(page, 1), chunked=True), Insert(pages(page, 1))
        steps = run(version, sizes(page, write_policy=THROUGH), *script)
        assert [s.nodes for s in steps] == [
            {"1": "device D"},
            {"1": "device host? lock=1 hits=1"},
        ]

    def test_keeps_namespaces_apart(self, version: str, page: int) -> None:
        tokens = pages(page, 1, 2)
        steps = run(
            version,
            sizes(page),
            Insert(tokens),
            Insert(tokens, namespace="a"),
            Match(tokens, namespace="a"),
            Match(tokens, namespace="b"),
        )
        assert outcomes(steps) == [Inserted(0), Inserted(0), Matched(2 * page, 0), Matched(0, 0)]
        assert steps[-1].nodes == {"1 2": "device D", "a:1 2": "device D"}

    def test_raises_the_priority_of_the_whole_node_that_it_ends_in(
        self, version: str, page: int
    ) -> None:
        """Before it splits it; RadixCache raises only the shared half."""
        script = Insert(pages(page, 1, 2, 3)), Insert(pages(page, 1), priority=5)
        _, step = run(version, sizes(page), *script)
        assert step.nodes == {"1": "device priority=5", "1 2 3": "device priority=5 D"}

    def test_over_an_evicted_node_takes_the_new_slots(self, version: str, page: int) -> None:
        tokens = pages(page, 1, 2)
        steps = run(version, sizes(page), Insert(tokens), EvictDevice(2 * page), Insert(tokens))
        assert outcomes(steps) == [Inserted(0), Evicted(2 * page), Inserted(0)]
        assert steps[1].nodes == {"1 2": "host H"}
        assert steps[2].nodes == {"1 2": "device host D"}

    def test_without_free_slots_is_refused_and_evicts_nothing(
        self, version: str, page: int
    ) -> None:
        script = Insert(pages(page, 1)), Insert(pages(page, 2, 3))
        first, second = run(version, sizes(page, device=2), *script)
        assert second.outcome == OutOfMemory(2 * page)
        assert second.state == first.state


@each_release
def test_tokens_beyond_the_last_whole_page_are_not_inserted(version: str) -> None:
    script = Insert((4, 5, 6)), Insert((4, 5, 6, 7, 8))
    steps = run(version, sizes(4), *script)
    assert [s.nodes for s in steps] == [{}, {"1": "device D"}]
    assert steps[1]["device free"] == 7


@each_release
@each_page
class TestMatch:
    def test_splits_without_a_new_place_in_the_host_leaves(self, version: str, page: int) -> None:
        tokens = pages(page, 1, 2, 3)
        *_, step = run(
            version, sizes(page), Insert(tokens), EvictDevice(3 * page), Match(tokens[: 2 * page])
        )
        assert step.outcome == Matched(0, 2 * page)
        assert step.nodes == {"1 2": "host", "1 2 3": "host H"}
        assert step["host slots"] == {
            "1 2": list(pages(page, 0, 1)),
            "1 2 3": list(pages(page, 2)),
        }

    def test_tells_device_and_host_lengths_apart(self, version: str, page: int) -> None:
        steps = run(
            version,
            sizes(page),
            Insert(pages(page, 1, 2, 3)),
            Match(pages(page, 1)),
            EvictDevice(1),
            Match(pages(page, 1, 2, 3, 4)),
        )
        assert steps[-1].outcome == Matched(page, 2 * page)
        assert steps[-1].outcome.slots == pages(page, 1)
        assert steps[-1].nodes == {"1": "device D", "1 2 3": "host H"}

    def test_refreshes_the_half_that_nobody_asked_for(self, version: str, page: int) -> None:
        """The node is touched before it is split: [5 6 7] is older than the rest of [1 2 3 4]."""
        steps = run(
            version,
            sizes(page),
            Insert(pages(page, 1, 2, 3, 4)),
            Insert(pages(page, 5, 6, 7)),
            Match(pages(page, 1)),
            EvictDevice(1),
        )
        ticks = steps[2]["ticks"]
        assert ticks["5 6 7"] < ticks["1 2 3 4"] < ticks["1"]
        assert steps[3].outcome == Evicted(3 * page)
        assert steps[3].nodes == {"1": "device", "1 2 3 4": "device D", "5 6 7": "host H"}


@each_release
@each_page
class TestEviction:
    @pytest.mark.parametrize(
        ("policy", "nodes", "free"),
        [
            (BACK, {"1 2": "host H", "3": "device D"}, (7, 10)),
            (THROUGH, {"1 2": "host hits=1 H", "3": "device host hits=1 D"}, (7, 9)),
            (SELECTIVE, {"3": "device hits=1 D"}, (7, 12)),
        ],
    )
    def test_demotes_what_is_backed_up_and_drops_the_rest(
        self, version: str, page: int, policy: str, nodes: dict[str, str], free: tuple[int, int]
    ) -> None:
        *_, step = run(
            version,
            sizes(page, write_policy=policy),
            Insert(pages(page, 1, 2)),
            Insert(pages(page, 3)),
            CompleteWrites(2),
            EvictDevice(1),
        )
        assert step.outcome == Evicted(2 * page)
        assert step.nodes == nodes
        assert (step["device free"], step["host free"]) == free
        assert step["transfers"] == []

    def test_leaves_alone_what_a_write_in_flight_locks(self, version: str, page: int) -> None:
        script = Insert(pages(page, 1)), EvictDevice(page)
        _, step = run(version, sizes(page, write_policy=THROUGH), *script)
        assert step.outcome == Evicted(0)
        assert step.nodes == {"1": "device host? lock=1 hits=1"}

    def test_of_the_host_takes_leaves_first_and_then_their_parents(
        self, version: str, page: int
    ) -> None:
        steps = run(
            version,
            sizes(page),
            Insert(pages(page, 1, 2, 3)),
            EvictDevice(3 * page),
            Match(pages(page, 1)),
            EvictHost(1),
            EvictHost(1),
        )
        assert [s.nodes for s in steps[2:]] == [
            {"1": "host", "1 2 3": "host H"},
            {"1": "host H"},
            {},
        ]
        assert [s["host free"] for s in steps[2:]] == [9, 11, 12]

    def test_of_the_host_spares_pinned_copies(self, version: str, page: int) -> None:
        tokens = pages(page, 1, 2)
        steps = run(
            version,
            sizes(page),
            Insert(tokens),
            EvictDevice(2 * page),
            LockHost(tokens),
            EvictHost(2 * page),
            UnlockHost(tokens),
            EvictHost(2 * page),
        )
        assert outcomes(steps[2:]) == [Done()] * 4
        assert [s.nodes for s in steps[2:]] == [
            {"1 2": "host pin=1 H"},
            {"1 2": "host pin=1 H"},
            {"1 2": "host H"},
            {},
        ]
        assert [s["host locks"] for s in steps[2:]] == [["1 2"], ["1 2"], [], []]


@each_release
@each_page
class TestLoads:
    @pytest.mark.parametrize(("copies", "started"), [("late", "device?"), ("early", "device")])
    def test_are_queued_started_and_acknowledged(
        self, version: str, page: int, copies: str, started: str
    ) -> None:
        tokens = pages(page, 1, 2, 3)
        steps = run(
            version,
            sizes(page, copies=copies, layers=2),
            Insert(tokens),
            EvictDevice(3 * page),
            Insert(pages(page, 7, 8, 9, 10, 11, 12, 13, 14)),
            EvictDevice(8 * page),
            LoadBack(tokens),
            StartLoads(),
            StartLoads(),
            CompleteLoads(1),
            Match(tokens),
        )
        other = {"7 8 9 10 11 12 13 14": "host H"}
        assert outcomes(steps[4:]) == [
            LoadedBack(3 * page),
            LoadsStarted(True),
            LoadsStarted(False),
            Done(),
            Matched(3 * page, 0),
        ]
        assert [s.nodes for s in steps[4:8]] == [
            {"1 2 3": "device? host lock=1", **other},
            {"1 2 3": f"{started} host lock=1", **other},
            {"1 2 3": f"{started} host lock=1", **other},
            {"1 2 3": "device host D", **other},
        ]
        assert [s["transfers"] for s in steps[4:8]] == [
            ["queued load of 3: 1 2 3"],
            ["load of 3: 1 2 3"],
            ["load of 3: 1 2 3"],
            [],
        ]

    def test_start_together_and_complete_in_order(self, version: str, page: int) -> None:
        steps = run(
            version,
            sizes(page),
            *(Insert(pages(page, n)) for n in (1, 2, 3)),
            EvictDevice(3 * page),
            LoadBack(pages(page, 1)),
            LoadBack(pages(page, 2)),
            StartLoads(),
            LoadBack(pages(page, 3)),
            StartLoads(),
            CompleteLoads(1),
            CompleteLoads(1),
        )
        assert [s["transfers"] for s in steps[6:]] == [
            ["load of 2: 1, 2"],
            ["load of 2: 1, 2", "queued load of 1: 3"],
            ["load of 2: 1, 2", "load of 1: 3"],
            ["load of 1: 3"],
            [],
        ]
        assert steps[-2].nodes == {
            "1": "device host D",
            "2": "device host D",
            "3": "device? host lock=1",
        }

    @pytest.mark.parametrize(
        ("changes", "quota", "loaded"),
        [
            ({}, None, 2),
            ({"threshold": 2}, None, 2),
            ({"threshold": 3}, None, 0),
            ({}, 2, 2),
            ({}, 1, 0),
        ],
    )
    def test_below_the_threshold_or_over_the_quota_are_refused(
        self, version: str, page: int, changes: dict[str, int], quota: int | None, loaded: int
    ) -> None:
        tokens = pages(page, 1, 2)
        threshold = changes.get("threshold", 1) * page
        steps = run(
            version,
            sizes(page, load_back_threshold=threshold),
            Insert(tokens),
            EvictDevice(2 * page),
            LoadBack(tokens, quota=None if quota is None else quota * page),
        )
        assert steps[2].outcome == LoadedBack(loaded * page)
        if not loaded:
            assert steps[2].nodes == {"1 2": "host H"}
            assert steps[2]["transfers"] == []

    def test_of_nothing_answer_zero(self, version: str, page: int) -> None:
        script = Insert(pages(page, 1)), LoadBack(pages(page, 1)), LoadBack(pages(page, 2))
        steps = run(version, sizes(page), *script)
        assert outcomes(steps[1:]) == [LoadedBack(0), LoadedBack(0)]


@each_release
@each_page
def test_writes_are_acknowledged_in_order_and_no_more_than_asked_for(
    version: str, page: int
) -> None:
    steps = run(
        version,
        sizes(page, write_policy=THROUGH, layers=2),
        *(Insert(pages(page, n)) for n in (1, 2, 3)),
        CompleteWrites(2),
        CompleteWrites(1),
    )
    assert [s["transfers"] for s in steps[2:]] == [
        ["write of 1: 1", "write of 1: 2", "write of 1: 3"],
        ["write of 1: 3"],
        [],
    ]
    done = "device host hits=1 D"
    assert steps[3].nodes == {"1": done, "2": done, "3": "device host? lock=1 hits=1"}
    assert steps[4].nodes == {"1": done, "2": done, "3": done}


@each_release
@each_page
class TestLocks:
    def test_hold_the_path_and_are_released_by_its_end(self, version: str, page: int) -> None:
        steps = run(
            version,
            sizes(page),
            Insert(pages(page, 1, 2)),
            Lock(pages(page, 1)),
            Lock(pages(page, 1, 2, 3)),
            EvictDevice(2 * page),
            Unlock(pages(page, 1)),
            Unlock(pages(page, 1, 2)),
        )
        assert outcomes(steps[1:]) == [Done(), Done(), Evicted(0), Done(), Done()]
        assert [s.nodes for s in steps[1:]] == [
            {"1": "device lock=1", "1 2": "device D"},
            {"1": "device lock=2", "1 2": "device lock=1"},
            {"1": "device lock=2", "1 2": "device lock=1"},
            {"1": "device lock=1", "1 2": "device lock=1"},
            {"1": "device", "1 2": "device D"},
        ]
        assert [s["locks"] for s in steps[1:]] == [["1"], ["1", "1 2"], ["1", "1 2"], ["1 2"], []]
        assert [(s["evictable"], s["protected"]) for s in steps[1:]] == [
            (1, 1),
            (0, 2),
            (0, 2),
            (0, 2),
            (2, 0),
        ]

    def test_stay_with_the_lower_half_of_a_split(self, version: str, page: int) -> None:
        tokens = pages(page, 1, 2)
        steps = run(version, sizes(page), Insert(tokens), Lock(tokens), Match(tokens[:page]))
        assert steps[2].nodes == {"1": "device lock=1", "1 2": "device lock=1"}
        assert steps[2]["locks"] == ["1 2"]

    def test_are_never_on_the_root(self, version: str, page: int) -> None:
        steps = run(version, sizes(page), Lock(pages(page, 1)), LockHost(pages(page, 1)))
        assert outcomes(steps) == [Done(), Done()]
        assert (steps[1]["locks"], steps[1]["host locks"]) == ([], [])

    def test_that_are_not_held_cannot_be_released(self, version: str, page: int) -> None:
        script = Insert(pages(page, 1)), Unlock(pages(page, 1)), UnlockHost(pages(page, 1))
        for step in run(version, sizes(page), *script)[1:]:
            assert isinstance(step.outcome, Raised)
            assert step.outcome.kind == "KeyError"


@each_release
@each_page
@each_policy
def test_after_reset_the_cache_is_as_new(version: str, page: int, policy: str) -> None:
    tokens = pages(page, 1, 2)
    steps = run(
        version,
        sizes(page, write_policy=policy),
        Insert(tokens),
        Insert(tokens),
        CompleteWrites(1),
        EvictDevice(1),
        Reset(),
        Insert(tokens),
    )
    empty = steps[4]
    assert (empty.nodes, empty["evictable"], empty["protected"]) == ({}, 0, 0)
    assert (empty["device free"], empty["host free"], empty["leaves"]) == (8, 12, [0, 0])
    assert steps[5]["device slots"] == steps[0]["device slots"]


@each_release
@each_page
def test_both_io_backends_move_the_same_bytes(version: str, page: int) -> None:
    tokens = pages(page, 1, 2, 3)
    script = Insert(tokens), EvictDevice(1), LoadBack(tokens), StartLoads(), CompleteLoads(1)
    direct, kernel = (
        run(version, sizes(page, io_backend=backend, layers=3), *script)
        for backend in ("direct", "kernel")
    )
    assert [s.state for s in direct] == [s.state for s in kernel]
    assert direct[-1].nodes == {"1 2 3": "device host D"}


# -- known defects, as the snapshots show them -----------------------------------------------------


@each_release
def test_19212_in_four_operations(version: str) -> None:
    script = Insert((1,)), EvictDevice(1), Insert((1, 2)), EvictDevice(2)
    *_, step = run(version, sizes(1), *script)
    wrong = version in Range(before="0.5.11")
    assert step.nodes == {"1": "host H" if wrong else "host", "1 2": "host H"}


@each_release
def test_a_load_back_lets_its_own_host_pages_go_up_to_0_5_14(version: str) -> None:
    """A9: the eviction that makes room takes the node that is being loaded out of the tree."""
    *_, loaded, _, completed = run_anyway(
        version,
        sizes(1, device=4, host=5),
        Insert((1, 2, 3)),
        EvictDevice(3),
        Insert((5, 6, 7, 8)),
        LoadBack((1, 2, 3)),
        StartLoads(),
        CompleteLoads(1),
    )
    assert loaded.outcome == LoadedBack(3)
    if version in Range(before="0.5.15"):
        assert loaded.nodes == {"5 6 7 8": "host H"}
        assert loaded["transfers"] == ["queued load of 3: gone"]
        assert completed["strays"] == ["evictable_leaves: [1, 2, 3]"]
    else:
        assert loaded.nodes == {"1 2 3": "device? host lock=1"}
        assert completed.nodes == {"1 2 3": "device host D"}
        assert completed["strays"] == completed["faults"] == []


@each_release
def test_a_victim_that_the_host_has_no_room_for(version: str) -> None:
    """Up to 0.5.10 an assertion, up to 0.5.14 passed over for the next, then dropped."""
    pinned = {"1 2 3 4": "host pin=1 H"}
    *_, step = run_anyway(
        version,
        sizes(1, device=6, host=7),
        Insert((1, 2, 3, 4)),
        EvictDevice(4),
        LockHost((1, 2, 3, 4)),
        Insert((10, 11, 12, 13)),
        Insert((20,)),
        EvictDevice(1),
    )
    if version in Range(before="0.5.11"):
        assert isinstance(step.outcome, Raised)
        assert step.outcome.kind == "AssertionError"
    elif version in Range(before="0.5.15"):
        assert step.outcome == Evicted(1)
        assert step.nodes == {**pinned, "10 11 12 13": "device D", "20": "host H"}
    else:
        assert step.outcome == Evicted(4)
        assert step.nodes == {**pinned, "20": "device D"}
