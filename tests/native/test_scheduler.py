"""What a scheduler does with requests, on our own cache."""

from __future__ import annotations

from typing import Any

import pytest

from hicache_impl.native.pools import Slots
from hicache_impl.native.requests import NoRoom, Running, Scheduler
from hicache_model.fingerprint import fingerprints
from tests.native.caches import Small, small, spread


def held(cache: Small, scheduler: Scheduler) -> int:
    """Device slots of running requests that are not the cache's."""
    return sum(len(r.row) - r.protected for r in scheduler.running.values())


def test_a_whole_prompt_goes_to_the_cache_and_stays_locked() -> None:
    cache = small()
    scheduler = Scheduler(cache)
    request = scheduler.begin(1, (1, 2, 3), chunk=8)
    assert (request.found, request.loaded, request.left) == (0, 0, 0)
    assert cache.protected_size == 3
    assert cache.device_kv.contents_of(request.row) == list(fingerprints(None, (1, 2, 3)))
    scheduler.finish(1)
    assert (cache.protected_size, cache.evictable_size) == (0, 3)
    assert scheduler.running == {}


def test_the_last_token_of_a_prompt_is_always_computed() -> None:
    cache = small()
    cache.put(1, 2, 3)
    computed: list[tuple[int, int]] = []

    def compute(request: Running, start: int, slots: Slots) -> None:
        computed.append((start, len(slots)))

    Scheduler(cache, compute).begin(1, (1, 2, 3), chunk=8)
    assert computed == [(2, 1)]


def test_what_is_on_the_host_is_loaded_when_a_request_begins() -> None:
    cache = small()
    cache.put(1, 2, 3)
    cache.evict_device(3)
    request = Scheduler(cache).begin(1, (1, 2, 3, 4), chunk=8)
    assert (request.found, request.loaded) == (0, 3)
    cache.complete_loads(1)
    assert cache.device_kv.contents_of(request.row) == list(fingerprints(None, (1, 2, 3, 4)))


def test_a_prompt_in_chunks_computes_each_token_once() -> None:
    cache = small()
    starts: list[tuple[int, int]] = []
    scheduler = Scheduler(cache, lambda request, start, slots: starts.append((start, len(slots))))
    request = scheduler.begin(1, (1, 2, 3, 4, 5), chunk=2)
    scheduler.extend(1, 2)
    assert request.left == 1
    scheduler.extend(1, 2)
    assert starts == [(0, 2), (2, 2), (4, 1)]
    scheduler.finish(1)
    assert (cache.evictable_size, cache.protected_size) == (5, 0)


def test_two_requests_that_compute_the_same_keep_one_copy() -> None:
    cache = small()
    scheduler = Scheduler(cache)
    scheduler.begin(1, (1, 2, 3, 4), chunk=2)
    scheduler.begin(2, (1, 2, 3, 4), chunk=4)
    scheduler.extend(1, 2)
    assert spread(cache) == (8, 16)
    assert scheduler.running[1].row == scheduler.running[2].row
    scheduler.finish(1)
    scheduler.finish(2)
    assert (cache.evictable_size, cache.available_size) == (4, 4)


@pytest.mark.parametrize("page_size", [1, 2, 4])
def test_decoding_fills_a_page_before_it_takes_another(page_size: int) -> None:
    cache = small(page_size=page_size)
    scheduler = Scheduler(cache)
    request = scheduler.begin(1, (1, 2, 3), chunk=4)
    for token in (4, 5, 6):
        scheduler.decode(1, token)
    assert len(set(request.row)) == 6
    pages = {slot // page_size for slot in request.row}
    assert len(pages) == -(-6 // page_size)
    scheduler.finish(1)
    assert cache.evictable_size == 6 // page_size * page_size
    assert spread(cache) == (8, 16)


@pytest.mark.parametrize("end", ["retract", "abort", "finish"])
def test_however_a_request_ends_its_memory_comes_back(end: str) -> None:
    cache = small(page_size=2)
    scheduler = Scheduler(cache)
    scheduler.begin(1, (1, 2, 3, 4, 5), chunk=3)
    getattr(scheduler, end)(1)
    assert held(cache, scheduler) == 0
    assert cache.protected_size == 0
    assert spread(cache) == (8, 16)
    assert (cache.evictable_size > 0) == (end == "finish")


def test_an_abort_after_the_prompt_keeps_what_was_computed() -> None:
    cache = small()
    scheduler = Scheduler(cache)
    scheduler.begin(1, (1, 2), chunk=8)
    scheduler.decode(1, 3)
    scheduler.abort(1)
    assert cache.on_device() == {(1, 2), (1, 2, 3)}


def test_what_a_request_thought_goes_with_it_where_that_is_asked_for() -> None:
    cache = small(page_size=2, strip_thinking=True)
    scheduler = Scheduler(cache)
    scheduler.begin(1, (1, 2, 3), chunk=8)
    for token in (4, 5, 6):
        scheduler.decode(1, token)
    scheduler.finish(1)
    assert cache.on_device() == {(1, 2)}
    assert spread(cache) == (8, 16)


@pytest.mark.parametrize("end", ["retract", "abort", "finish"])
def test_thoughts_stay_that_the_cache_got_before_a_retraction(end: str) -> None:
    cache = small(strip_thinking=True)
    scheduler = Scheduler(cache)
    scheduler.begin(1, (1, 2, 3), chunk=8, outputs=2)
    scheduler.decode(1, 4)
    getattr(scheduler, end)(1)
    assert cache.on_device() == {(1, 2, 3)}
    assert spread(cache) == (8, 16)


def test_a_request_makes_room_by_eviction_and_says_when_there_is_none() -> None:
    cache = small(device_slots=4)
    cache.put(7, 8, 9)
    scheduler = Scheduler(cache)
    scheduler.begin(1, (1, 2, 3), chunk=3)
    assert cache.on_device() == {(1, 2, 3)}
    with pytest.raises(NoRoom, match="no room for 2 tokens") as short:
        scheduler.begin(2, (4, 5), chunk=2)
    assert short.value.needed == 2


def test_namespaces_and_priorities_reach_the_cache() -> None:
    cache: Any = small()
    scheduler = Scheduler(cache)
    scheduler.begin(1, (1, 2), chunk=2, namespace="a", priority=3)
    scheduler.finish(1)
    assert cache.node(1, 2, namespace="a").priority == 3
    assert len(cache.match((1, 2)).slots) == 0
