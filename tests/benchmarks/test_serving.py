"""The same operations for our cache and for the real one."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from benchmarks import serving
from benchmarks.conversations import conversations
from benchmarks.mooncake import distinct_blocks
from benchmarks.serving import Load, own, peer, record, same_answers, without_forward_pass
from benchmarks.sessions import Parted
from hicache_impl.native.cache import HierarchicalCache
from hicache_model.operations import EvictDevice, Insert, LoadBack, Match, StartLoads
from tests.fetched import fetched

LOAD = Load("made", conversations(60), block_tokens=8, device_share=0.1, host_share=0.3)
POLICIES = ("write_back", "write_through", "write_through_selective")


def sglang() -> Any:
    from hicache_impl.sglang.hiradix import HiRadixFactory
    from hicache_impl.sglang.loader import load
    from hicache_impl.sglang.source import Release

    fetched("0.5.18")
    return HiRadixFactory(load(Release("0.5.18")))


@pytest.mark.parametrize("page_size", [1, 16])
@pytest.mark.parametrize("policy", POLICIES)
def test_pools_are_shares_of_the_working_set_in_whole_pages(policy: str, page_size: int) -> None:
    configuration = LOAD.configuration(policy, page_size)
    different = distinct_blocks(LOAD.requests) * 8
    assert abs(configuration.device_slots - different / 10) <= page_size
    assert abs(configuration.host_slots - different * 0.3) <= page_size


def test_requests_become_every_kind_of_operation() -> None:
    example, found = record(LOAD, LOAD.configuration("write_back", 1))
    kinds = Counter(type(operation) for operation in example.operations)
    assert kinds[Match] == kinds[Insert] == 60
    assert all(kinds[kind] > 5 for kind in (EvictDevice, LoadBack, StartLoads))
    assert 0.1 < found < 0.9


def test_recorded_operations_always_find_room() -> None:
    example, _ = record(LOAD, LOAD.configuration("write_through", 16))
    target = own(example)
    with without_forward_pass():
        outcomes = [type(target.perform(operation)).__name__ for operation in example.operations]
    assert "OutOfMemory" not in outcomes


@pytest.mark.parametrize("page_size", [1, 16])
@pytest.mark.parametrize("policy", POLICIES)
def test_both_caches_give_the_same_answers(policy: str, page_size: int) -> None:
    factory = sglang()
    example, _ = record(LOAD, LOAD.configuration(policy, page_size))
    with without_forward_pass():
        same_answers(example, peer(factory), own)


def test_nothing_is_measured_on_caches_that_answer_differently(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    example, _ = record(LOAD, LOAD.configuration("write_back", 1))
    right = HierarchicalCache.evict_device

    def wrong_once(cache: HierarchicalCache, count: int) -> int:
        return right(cache, count) + (cache is not seen.setdefault(0, cache))

    seen: dict[int, HierarchicalCache] = {}
    monkeypatch.setattr(HierarchicalCache, "evict_device", wrong_once)
    with without_forward_pass(), pytest.raises(Parted, match="EvictDevice: one says Evicted"):
        same_answers(example, own, own)


def test_the_table_has_a_row_for_each_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "peer", lambda factory: own)
    factory: Any = type("F", (), {"description": type("D", (), {"release": "1"})})
    table = serving.table(factory, LOAD, ("write_back",), (1, 4), 2, lambda text: None)
    assert [row[:2] for row in table.rows] == [
        ("write_back, 1", "SGLang"),
        ("write_back, 1", "ours"),
        ("write_back, 4", "SGLang"),
        ("write_back, 4", "ours"),
    ]
    for row in table.rows:
        middle, least, most = (float(value or 0) for value in row[4:7])
        assert 0 < least <= middle <= most
