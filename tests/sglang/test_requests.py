"""What a request does to the real cache from its admission to its end, worked out by hand.

Counted in pages where a test runs for several page sizes (test_hiradix_child.py has the notation).
"""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from hicache_impl.sglang.namespaces import KeyParts
from hicache_impl.sglang.releases import STRIPS_THINKING, Range
from hicache_impl.sglang.requests import ArrayReq, KvReq, ListReq, SaltedReq, SizedReq
from hicache_model import rules
from hicache_model.dialects import Dialect
from hicache_model.operations import (
    AbortRequest,
    BeginRequest,
    CompleteLoads,
    CompleteWrites,
    DecodeRequest,
    EvictDevice,
    ExtendRequest,
    FinishRequest,
    Insert,
    LoadBack,
    Lock,
    Match,
    Operation,
    RetractRequest,
    StartLoads,
)
from hicache_model.outcomes import Admitted, Done, OutOfMemory
from hicache_model.reference import Reference
from tests.sglang.test_hiradix_child import pages, releases, run, run_anyway, sizes

BACK, THROUGH, SELECTIVE = "write_back", "write_through", "write_through_selective"
ALL = 1 << 10  # a chunk that reaches the end of any prompt here

each_page = pytest.mark.parametrize("page", [1, 4])
each_release = pytest.mark.parametrize("version", releases())
each_policy = pytest.mark.parametrize("policy", [BACK, THROUGH, SELECTIVE])


def boundary(version: str) -> str:
    """From 0.5.20 the prompt is inserted again, one priority higher, so that a node ends there."""
    return " priority=1" if version in Range(since="0.5.20") else ""


@each_release
@each_page
class TestPrefill:
    @pytest.mark.parametrize(
        ("policy", "node", "transfers"),
        [
            (BACK, "device lock=1", []),
            (THROUGH, "device host? lock=2 hits=1", ["write of 3: 1 2 3"]),
            (SELECTIVE, "device lock=1 hits=1", []),
        ],
    )
    def test_of_a_whole_prompt_gives_it_to_the_tree_and_locks_it(
        self, version: str, page: int, policy: str, node: str, transfers: list[str]
    ) -> None:
        prompt = pages(page, 1, 2, 3)
        (step,) = run(version, sizes(page, write_policy=policy), BeginRequest(7, prompt, ALL))
        n = 3 * page
        assert step.outcome == Admitted(0, 0)
        assert step.nodes == {"1 2 3": node}
        assert step["transfers"] == transfers
        assert step["requests"] == {"7": f"{n} of {n}, protected {n}, at 1 2 3"}
        assert step["device free"] == 5

    def test_in_chunks_counts_hits_once_the_prompt_is_whole(self, version: str, page: int) -> None:
        steps = run(
            version,
            sizes(page, write_policy=THROUGH),
            BeginRequest(0, pages(page, 1, 2, 3, 4, 5), 2 * page),
            ExtendRequest(0, 2 * page),
            ExtendRequest(0, ALL),
        )
        assert [s.nodes for s in steps] == [
            {},
            {"1 2": "device lock=1"},
            {
                "1 2": "device host? lock=4 hits=1",
                "1 2 3 4": "device host? lock=3 hits=1",
                "1 2 3 4 5": "device host? lock=2 hits=1",
            },
        ]
        assert [s["requests"]["0"] for s in steps] == [
            f"{2 * page} of {5 * page}, protected 0",
            f"{4 * page} of {5 * page}, protected {2 * page}, at 1 2",
            f"{5 * page} of {5 * page}, protected {5 * page}, at 1 2 3 4 5",
        ]
        assert [s["device free"] for s in steps] == [6, 4, 3]

    def test_shares_what_another_request_computed(self, version: str, page: int) -> None:
        steps = run(
            version,
            sizes(page),
            BeginRequest(0, pages(page, 1, 2, 3), ALL),
            BeginRequest(1, pages(page, 1, 2, 4), ALL),
            FinishRequest(0),
            FinishRequest(1),
        )
        assert steps[1].outcome == Admitted(2 * page, 0)
        assert [s.nodes for s in steps[1:]] == [
            {"1 2": "device lock=2", "1 2 3": "device lock=1", "1 2 4": "device lock=1"},
            {"1 2": "device lock=1", "1 2 3": "device D", "1 2 4": "device lock=1"},
            {"1 2": "device", "1 2 3": "device D", "1 2 4": "device D"},
        ]
        assert [s["device free"] for s in steps] == [5, 4, 4, 4]

    def test_never_takes_the_last_token_from_the_cache(self, version: str, page: int) -> None:
        """What is computed again is freed as a duplicate."""
        prompt = pages(page, 1, 2)
        script = Insert(prompt), BeginRequest(0, prompt, ALL)
        _, step = run(version, sizes(page), *script)
        assert step.outcome == Admitted(page, 0)
        assert step.nodes == {"1": "device lock=1", "1 2": "device lock=1"}
        assert step["device free"] == 6

    def test_keeps_to_its_namespace(self, version: str, page: int) -> None:
        prompt = pages(page, 1, 2)
        script = Insert(prompt), BeginRequest(0, prompt, ALL, namespace="a", priority=2)
        _, step = run(version, sizes(page), *script)
        assert step.outcome == Admitted(0, 0)
        assert step.nodes == {"1 2": "device D", "a:1 2": "device lock=1 priority=2"}

    def test_loads_back_what_lies_on_the_host(self, version: str, page: int) -> None:
        steps = run(
            version,
            sizes(page),
            Insert(pages(page, 1, 2)),
            EvictDevice(2 * page),
            Insert(pages(page, 7, 8, 9, 10, 11, 12, 13, 14)),  # other bytes in every slot
            EvictDevice(8 * page),
            BeginRequest(0, pages(page, 1, 2, 3), ALL),
            CompleteLoads(1),
            FinishRequest(0),
        )
        n = 3 * page
        other = {"7 8 9 10 11 12 13 14": "host H"}
        assert steps[4].outcome == Admitted(0, 2 * page)
        assert [s.nodes for s in steps[4:]] == [
            {"1 2": "device host lock=2", "1 2 3": "device lock=1", **other},
            {"1 2": "device host lock=1", "1 2 3": "device lock=1", **other},
            {"1 2": "device host", "1 2 3": "device D", **other},
        ]
        assert [s["transfers"] for s in steps[4:]] == [["load of 2: 1 2"], [], []]
        whole = f"{n} of {n}, protected {n}, at 1 2 3"
        assert [s["requests"] for s in steps[4:]] == [
            {"0": whole},  # its forward pass waited, though nobody has acknowledged the load
            {"0": whole},
            {},
        ]

    def test_computes_anew_what_is_not_worth_loading(self, version: str, page: int) -> None:
        *_, step = run(
            version,
            sizes(page, load_back_threshold=9 * page),
            Insert(pages(page, 1, 2)),
            EvictDevice(2 * page),
            BeginRequest(0, pages(page, 1, 2, 3), ALL),
        )
        assert step.outcome == Admitted(0, 0)
        assert step.nodes == {"1 2": "device host lock=1", "1 2 3": "device lock=1"}
        assert step["transfers"] == []

    def test_starts_loads_that_others_queued(self, version: str, page: int) -> None:
        *_, step = run(
            version,
            sizes(page),
            Insert(pages(page, 1)),
            EvictDevice(page),
            LoadBack(pages(page, 1)),
            BeginRequest(0, pages(page, 2), ALL),
        )
        assert step["transfers"] == ["load of 1: 1"]

    def test_evicts_what_this_release_asks_for(self, version: str, page: int) -> None:
        """All of the allocation up to 0.5.16, then what is missing; paged, one page more."""
        *_, step = run(
            version,
            sizes(page, device=4),
            *(Insert(pages(page, n)) for n in (1, 2, 3)),
            BeginRequest(0, pages(page, 4, 5), ALL),
        )
        asked = 2 if page == 1 else 3
        evicted = asked if version in Range(before="0.5.17") else asked - 1
        assert step.outcome == Admitted(0, 0)
        assert step.nodes == {
            **{str(n): "host H" if n <= evicted else "device D" for n in (1, 2, 3)},
            "4 5": "device lock=1",
        }

    def test_that_finds_no_memory_keeps_its_row_until_it_is_given_back(
        self, version: str, page: int
    ) -> None:
        steps = run(
            version,
            sizes(page, device=2),
            Insert(pages(page, 1)),
            BeginRequest(0, pages(page, 1, 2, 3), ALL),
            RetractRequest(0),
        )
        assert steps[1].outcome == OutOfMemory(2 * page)
        assert steps[1].nodes == {"1": "device lock=1"}
        assert steps[1]["requests"] == {"0": f"{page} of {3 * page}, protected {page}, at 1"}
        assert steps[2].nodes == {"1": "device D"}
        assert steps[2]["requests"] == {}


@each_release
class TestPartialPages:
    """Page size 4, prompts that do not end with a page."""

    def test_stay_with_the_request(self, version: str) -> None:
        prompt = (*pages(4, 1, 2), 12)
        steps = run(version, sizes(4), BeginRequest(0, prompt, ALL), FinishRequest(0))
        assert steps[0].nodes == {"1 2": "device lock=1"}
        assert steps[0]["requests"] == {"0": "9 of 9, protected 8, at 1 2"}
        assert [s["device free"] for s in steps] == [5, 6]
        assert steps[1].nodes == {"1 2": "device D"}

    def test_are_filled_before_a_new_page_is_taken(self, version: str) -> None:
        tokens = pages(4, 2, 3)
        steps = run(
            version,
            sizes(4),
            BeginRequest(0, pages(4, 1), ALL),
            *(DecodeRequest(0, token) for token in tokens),
            FinishRequest(0),
        )
        assert [s["device free"] for s in steps] == [7, 6, 6, 6, 6, 5, 5, 5, 5, 5]
        assert steps[-2].nodes == {"1": "device lock=1"}
        assert steps[-1].nodes == {"1": f"device{boundary(version)}", "1 2 3": "device D"}

    def test_that_are_not_full_are_freed_at_the_end(self, version: str) -> None:
        script = BeginRequest(0, pages(4, 1), ALL), DecodeRequest(0, 8), DecodeRequest(0, 9)
        steps = run(version, sizes(4), *script, FinishRequest(0))
        assert [s["device free"] for s in steps] == [7, 6, 6, 7]
        assert steps[-1].nodes == {"1": "device D"}

    def test_are_extended_by_the_next_chunk(self, version: str) -> None:
        """A chunk that is no whole number of pages: its end is stashed with the request."""
        steps = run(
            version,
            sizes(4),
            BeginRequest(0, pages(4, 1, 2, 3), 6),
            ExtendRequest(0, 3),
            ExtendRequest(0, ALL),
            FinishRequest(0),
        )
        assert [s["requests"].get("0") for s in steps] == [
            "6 of 12, protected 0",
            "9 of 12, protected 4, at 1",
            "12 of 12, protected 12, at 1 2 3",
            None,
        ]
        assert [s["device free"] for s in steps] == [6, 5, 5, 5]
        assert steps[-1].nodes == {"1": "device", "1 2": "device", "1 2 3": "device D"}


@each_release
def test_decoding_takes_a_slot_a_token_and_finishing_inserts_them(version: str) -> None:
    steps = run(
        version,
        sizes(1, write_policy=THROUGH),
        BeginRequest(0, (1, 2), ALL),
        DecodeRequest(0, 8),
        DecodeRequest(0, 9),
        FinishRequest(0),
        CompleteWrites(2),
    )
    assert [s["device free"] for s in steps] == [6, 5, 4, 4, 4]
    assert steps[2]["requests"] == {"0": "4 of 4, protected 2, at 1 2"}
    assert steps[2].nodes == {"1 2": "device host? lock=2 hits=1"}
    assert steps[3].nodes == {
        "1 2": f"device host? lock=2 hits=2{boundary(version)}",
        "1 2 8 9": "device host? lock=1 hits=1",
    }
    assert steps[4].nodes == {
        "1 2": f"device host hits=2{boundary(version)}",
        "1 2 8 9": "device host hits=1 D",
    }


@each_release
@each_page
class TestEnds:
    def test_retracting_a_chunk_frees_what_is_not_the_trees(self, version: str, page: int) -> None:
        steps = run(
            version,
            sizes(page),
            BeginRequest(0, pages(page, 1, 2, 3, 4), 2 * page),
            ExtendRequest(0, page),
            RetractRequest(0),
        )
        assert [s["device free"] for s in steps] == [6, 5, 6]
        assert steps[-1].nodes == {"1 2": "device D"}
        assert steps[-1]["requests"] == {}

    def test_retracting_after_decoding_keeps_the_prompt_only(self, version: str, page: int) -> None:
        script = BeginRequest(0, pages(page, 1), ALL), DecodeRequest(0, 3), RetractRequest(0)
        steps = run(version, sizes(page), *script)
        assert [s["device free"] for s in steps] == [7, 6, 7]
        assert steps[-1].nodes == {"1": "device D"}

    def test_aborting_a_decoding_request_inserts_what_was_computed(
        self, version: str, page: int
    ) -> None:
        script = BeginRequest(0, pages(page, 1, 2), ALL), AbortRequest(0)
        _, step = run(version, sizes(page), *script)
        assert step.outcome == Done()
        assert step.nodes == {"1 2": "device D"}
        assert step["device free"] == 6

    def test_aborting_a_prefilling_request_inserts_nothing(self, version: str, page: int) -> None:
        script = BeginRequest(0, pages(page, 1, 2, 3), 2 * page), AbortRequest(0)
        _, step = run(version, sizes(page), *script)
        assert step.nodes == {}
        assert step["device free"] == 8

    def test_finishing_frees_what_another_inserted_meanwhile(self, version: str, page: int) -> None:
        """Both compute pages 1 2 3; the second one's copies go when its prompt is complete."""
        prompt = pages(page, 1, 2, 3)
        steps = run(
            version,
            sizes(page),
            BeginRequest(0, prompt, 2 * page),
            BeginRequest(1, prompt, ALL),
            ExtendRequest(0, ALL),
            FinishRequest(0),
            FinishRequest(1),
        )
        assert [s["device free"] for s in steps] == [6, 3, 5, 5, 5]
        assert steps[2].nodes == {"1 2": "device lock=2", "1 2 3": "device lock=2"}
        assert steps[4].nodes == {"1 2": "device", "1 2 3": "device D"}


@each_release
def test_a_request_gets_anothers_bytes_from_a_load_back_up_to_0_5_14(version: str) -> None:
    """A9: backing up [5 6 7 8] to make room takes the host pages that are about to be loaded."""
    *_, begun, completed = run_anyway(
        version,
        sizes(1, device=4, host=5),
        Insert((1, 2, 3)),
        EvictDevice(3),
        Insert((5, 6, 7, 8)),
        BeginRequest(0, (1, 2, 3, 9), ALL),
        CompleteLoads(1),
    )
    assert begun.outcome == Admitted(0, 3)
    if version in Range(before="0.5.15"):
        assert begun["transfers"] == ["load of 3: gone"]
        assert completed.nodes == {"5 6 7 8": "host H", "1 2 3 9": "device? lock=1"}
        assert completed["requests"] == {"0": "4 of 4, protected 4, at 1 2 3 9, wrong bytes"}
    else:
        assert completed.nodes == {"1 2 3": "device host lock=1", "1 2 3 9": "device lock=1"}
        assert completed["requests"] == {"0": "4 of 4, protected 4, at 1 2 3 9"}


@pytest.mark.parametrize("version", releases(STRIPS_THINKING))
@each_page
class TestStrippedThinking:
    """--strip-thinking-cache."""

    def test_leaves_the_prompt_alone(self, version: str, page: int) -> None:
        *_, ended = run(
            version,
            sizes(page, strip_thinking=True),
            BeginRequest(0, pages(page, 1, 2), ALL),
            *(DecodeRequest(0, token) for token in pages(page, 3)),
            FinishRequest(0),
        )
        assert ended["device free"] == 6
        assert ended.nodes.keys() == {"1 2"}

    def test_frees_what_the_tree_got_before_a_retraction(self, version: str, page: int) -> None:
        """The defect stripped-thinking, which no release of HiRadixCache is without."""
        *_, ended = run_anyway(
            version,
            sizes(page, strip_thinking=True),
            BeginRequest(0, pages(page, 1, 2), ALL, outputs=page),
            FinishRequest(0),
        )
        assert ended["device free"] == 7
        assert ended.nodes.keys() == {"1", "1 2"}


# -- long runs -------------------------------------------------------------------------------------


@each_release
@each_page
@each_policy
def test_slots_are_conserved_over_a_long_run_of_several_requests(
    version: str, page: int, policy: str
) -> None:
    """``run`` checks after every operation; so much host memory that host eviction never begins."""
    configuration = sizes(page, device=10, host=500, write_policy=policy, io_backend="kernel")
    steps = run(version, configuration, *_legal_script(version, configuration, Random(1), 200))
    assert {type(step.outcome) for step in steps} >= {Admitted, Done}
    assert max(len(step["requests"]) for step in steps) >= 2


def _legal_script(version: str, configuration: Any, random: Random, length: int) -> list[Operation]:
    model = Reference(configuration, Dialect.of(version))
    script: list[Operation] = []
    while len(script) < length:
        operation = _draw(random, configuration.page_size)
        if rules.refusal(model, operation) is None:
            script.append(operation)
            model.apply(operation)
    return script


def _draw(random: Random, page: int) -> Operation:
    number = random.randrange(3)
    tokens = tuple(random.choice((1, 2)) for _ in range(random.randint(1, 6 * page)))
    chunk = page * random.randint(1, 4)
    draws = (
        BeginRequest(number, tokens, chunk, random.choice((None, "a"))),
        BeginRequest(number, tokens, ALL),
        ExtendRequest(number, chunk),
        DecodeRequest(number, random.choice((1, 2))),
        DecodeRequest(number, random.choice((1, 2))),
        FinishRequest(number),
        RetractRequest(number),
        AbortRequest(number),
        Match(tokens),
        Lock(tokens) if random.random() < 0.1 else Match(tokens),
        Insert(tokens),
        EvictDevice(random.randint(1, 4 * page)),
        LoadBack(tokens),
        StartLoads(),
        CompleteWrites(random.randint(1, 3)),
        CompleteLoads(1),
    )
    return random.choice(draws)


# -- the request that the cache sees ---------------------------------------------------------------


@pytest.mark.parametrize("kind", [ListReq, ArrayReq, SizedReq, SaltedReq, KvReq])
def test_a_request_that_thought_owns_its_prompt_where_thoughts_are_stripped(kind: Any) -> None:
    req = kind("7", [1, 2], [3], KeyParts(None), 0)
    req.computed(3)
    assert req.owned() == 3
    req.strips_thinking = True
    assert req.owned() == 2
    req.computed(1)
    assert req.owned() == 1


@pytest.mark.parametrize(
    ("kind", "absent"),
    [
        (ListReq, ("get_fill_ids", "kv", "cache_salt", "effective_kv_committed_len")),
        (ArrayReq, ("fill_ids", "kv", "cache_salt", "effective_kv_committed_len")),
        (SizedReq, ("fill_ids", "cache_salt", "pop_committed_kv_cache")),
        (SaltedReq, ("fill_ids", "pop_committed_kv_cache")),
        (KvReq, ("fill_ids", "req_pool_idx", "cache_protected_len", "kv_committed_len")),
    ],
)
def test_a_request_has_only_what_its_release_has(kind: Any, absent: tuple[str, ...]) -> None:
    req = kind("7", [1, 2], [], KeyParts(None), 0)
    for name in absent:
        with pytest.raises(AttributeError):
            getattr(req, name)
        with pytest.raises(AttributeError):
            setattr(req, name, 1)
