"""Our own cache as a library: lookup, insert, split, evict, load back, lock, reset."""

from __future__ import annotations

from array import array
from random import Random

import pytest

from hicache_model.configuration import WRITE_POLICIES
from hicache_model.fingerprint import fingerprints
from tests.native.caches import small, spread

# -- lookup, insert, split -------------------------------------------------------------------------


def test_a_prefix_is_found_with_its_slots_and_its_bytes() -> None:
    cache = small()
    cache.put(1, 2, 3)
    found = cache.match((1, 2, 3, 4))
    assert (len(found.slots), found.host_length) == (3, 0)
    assert found.node is found.device_node is cache.node(1, 2, 3)
    assert cache.content(1, 2, 3) == list(fingerprints(None, (1, 2, 3)))


def test_nothing_is_found_of_other_tokens() -> None:
    cache = small()
    cache.put(1, 2)
    found = cache.match((2, 1))
    assert (len(found.slots), found.node, found.device_node) == (
        0,
        cache.tree.root,
        cache.tree.root,
    )


def test_a_match_that_ends_within_a_node_splits_it_and_loses_nothing() -> None:
    cache = small()
    lower = cache.put(1, 2, 3, 4)
    slots = lower.device
    found = cache.match((1, 2, 9))
    assert found.node.key == (1, 2)
    assert lower.key == (3, 4)
    assert lower.parent is found.node
    assert slots is not None
    assert (found.node.device, lower.device) == (slots[:2], slots[2:])
    assert cache.evictable_size == 4
    assert cache.upkeep.device_leaves == {lower}


def test_whoever_holds_a_node_that_is_split_holds_both_halves() -> None:
    cache = small()
    lower = cache.put(1, 2, 3, 4)
    cache.lock(lower)
    cache.match((1, 2))
    assert (cache.protected_size, cache.evictable_size) == (4, 0)
    cache.unlock(lower)
    assert (cache.protected_size, cache.evictable_size) == (0, 4)
    assert cache.node(1, 2).lock_ref == 0


@pytest.mark.parametrize("page_size", [2, 4])
def test_pages_are_never_cut(page_size: int) -> None:
    cache = small(page_size=page_size)
    cache.put(*range(8))
    assert len(cache.match((*range(page_size + 1), 99)).slots) == page_size
    assert len(cache.match((0, 99)).slots) == 0
    assert all(len(node.key) % page_size == 0 for node in cache.nodes())


def test_tokens_beyond_whole_pages_are_left_out_of_an_insert() -> None:
    cache = small(page_size=4)
    slots = cache.allocate(8)
    assert slots is not None
    cache.insert((1, 2, 3, 4, 5, 6), slots)
    assert [node.key for node in cache.nodes()] == [(1, 2, 3, 4)]


def test_an_insert_says_how_many_slots_stay_the_caller_s() -> None:
    cache = small()
    cache.put(1, 2)
    slots = cache.allocate(4)
    assert slots is not None
    assert cache.insert((1, 2, 3, 4), slots) == 2
    assert cache.node(1, 2, 3, 4).device == slots[2:]
    cache.free(slots[:2])
    assert spread(cache) == (8, 16)


def test_an_evicted_node_takes_the_slots_that_were_computed_again() -> None:
    cache = small()
    node = cache.put(1, 2)
    cache.evict_device(2)
    assert cache.on_device() == set()
    cache.put(1, 2, 3)
    assert len(node.device or ()) == 2
    assert cache.content(1, 2, 3) == list(fingerprints(None, (1, 2, 3)))
    assert spread(cache) == (8, 16)


def test_namespaces_keep_equal_tokens_apart() -> None:
    cache = small()
    one, other = cache.put(1, 2, namespace="a"), cache.put(1, 2, namespace="b")
    assert one is not other
    assert len(cache.match((1, 2)).slots) == 0
    assert cache.content(1, 2, namespace="a") == list(fingerprints("a", (1, 2)))
    cache.match((1,), "a")
    assert cache.node(1, namespace="a").namespace == "a"
    assert cache.node(1, 2, namespace="b") is other


# -- eviction --------------------------------------------------------------------------------------


ORDERS = {
    "lru": [(2,), (4,), (3,), (1,)],
    "mru": [(1,), (3,), (4,), (2,)],
    "fifo": [(1,), (2,), (3,), (4,)],
    "filo": [(4,), (3,), (2,), (1,)],
    "lfu": [(2,), (4,), (3,), (1,)],
    "priority": [(2,), (3,), (1,), (4,)],
    "slru": [(2,), (4,), (3,), (1,)],
    "tlru": [(2,), (4,), (3,), (1,)],
}


@pytest.mark.parametrize("policy", ORDERS)
def test_leaves_go_in_the_order_of_the_policy(policy: str) -> None:
    cache = small(write_policy="write_through", host_slots=1, eviction_policy=policy)
    for token, priority in ((1, 1), (2, 0), (3, 0), (4, 2)):
        cache.put(token, priority=priority)
    cache.put(3)
    cache.put(1, priority=1)
    cache.complete_writes(9)
    gone: list[tuple[int, ...]] = []
    for _ in range(4):
        before = cache.on_device()
        assert cache.evict_device(1) == 1
        gone += before - cache.on_device()
    assert gone == ORDERS[policy]


def test_your_own_policy_decides_and_of_equals_the_older_goes() -> None:
    cache = small(eviction_policy=lambda node: (node.priority,))
    for token, priority in ((1, 1), (2, 0), (3, 0)):
        cache.put(token, priority=priority)
    cache.match((2,))
    cache.evict_device(1)
    assert cache.on_device() == {(1,), (3,)}


def test_an_eviction_goes_on_to_the_parent_when_its_last_child_is_gone() -> None:
    cache = small()
    cache.put(1, 2)
    cache.put(1, 2, 3)
    cache.put(1, 2, 4)
    assert cache.evict_device(3) == 4
    assert cache.on_device() == set()
    assert cache.available_size == 8


def test_an_eviction_frees_whole_nodes_and_no_more_than_are_needed() -> None:
    cache = small()
    cache.put(1, 2, 3)
    cache.put(4, 5)
    assert cache.evict_device(1) == 3
    assert cache.on_device() == {(4, 5)}
    assert cache.evict_device(0) == 0


def test_what_is_locked_stays_with_all_above_it() -> None:
    cache = small()
    cache.put(1, 2)
    inner = cache.put(1, 2, 3)
    cache.put(1, 2, 4)
    cache.lock(inner)
    assert cache.evict_device(8) == 1
    assert cache.on_device() == {(1, 2), (1, 2, 3)}
    cache.lock(inner)
    cache.unlock(inner)
    assert cache.evict_device(8) == 0, "it is locked once still"
    cache.unlock(inner)
    assert cache.evict_device(8) == 3


def test_a_pinned_host_copy_stays_and_so_does_what_is_above_it() -> None:
    cache = small()
    cache.put(1)
    below = cache.put(1, 2)
    cache.evict_device(2)
    cache.pin_host(below)
    assert cache.evict_host(9) == 0
    cache.unpin_host(below)
    assert cache.evict_host(1) == 1
    assert cache.on_host() == {(1,)}
    assert cache.evict_host(9) == 1
    assert spread(cache) == (8, 16)


def test_a_host_eviction_takes_nothing_that_is_on_the_device() -> None:
    cache = small(write_policy="write_through")
    cache.put(1, 2)
    cache.complete_writes(1)
    assert cache.on_host() == {(1, 2)}
    assert cache.evict_host(9) == 0


# -- writing ---------------------------------------------------------------------------------------


def test_write_back_copies_what_is_evicted() -> None:
    cache = small()
    cache.put(1, 2)
    assert cache.on_host() == set()
    cache.evict_device(2)
    assert cache.on_host() == {(1, 2)}
    assert cache.parts.host_kv.contents_of(cache.node(1, 2).host or ()) == list(
        fingerprints(None, (1, 2))
    )


def test_write_back_drops_what_the_host_has_no_room_for() -> None:
    cache = small(host_slots=1)
    cache.put(1, 2)
    assert cache.evict_device(2) == 2
    assert cache.nodes() == []
    assert spread(cache) == (8, 1)


def test_write_through_copies_at_once_and_holds_the_node_until_it_is_acknowledged() -> None:
    cache = small(write_policy="write_through", copies="late")
    cache.put(1, 2)
    assert cache.on_host() == {(1, 2)}
    assert (cache.protected_size, cache.evict_device(2)) == (2, 0)
    cache.poll()
    assert cache.protected_size == 2, "nobody waited for the copy"
    cache.complete_writes(1)
    assert (cache.protected_size, cache.evictable_size) == (0, 2)
    assert cache.evict_device(2) == 2
    assert cache.on_host() == {(1, 2)}


def test_a_poll_acknowledges_what_has_arrived() -> None:
    cache = small(write_policy="write_through", copies="early")
    cache.put(1, 2)
    cache.poll()
    assert cache.protected_size == 0


def test_write_through_selective_copies_at_the_second_hit() -> None:
    cache = small(write_policy="write_through_selective")
    cache.put(1, 2)
    assert cache.on_host() == set()
    cache.put(1, 2)
    assert cache.on_host() == {(1, 2)}


@pytest.mark.parametrize("hits", [1, 2, 4])
def test_a_threshold_of_your_own_counts_hits(hits: int) -> None:
    cache = small(write_policy="write_through", write_through_threshold=hits)
    for number in range(1, hits + 1):
        cache.put(1, 2)
        assert bool(cache.on_host()) == (number == hits)


def test_a_child_is_not_copied_before_its_parent() -> None:
    cache = small(write_policy="write_through_selective")
    cache.put(1)
    cache.put(1, 2)
    assert cache.on_host() == {(1,)}, "the second hit of the parent, the first of the child"
    cache.put(1, 2)
    assert cache.on_host() == {(1,), (1, 2)}


def test_a_part_of_a_longer_prompt_counts_no_hit() -> None:
    cache = small(write_policy="write_through")
    cache.put(1, 2, chunked=True)
    assert (cache.on_host(), cache.node(1, 2).hit_count) == (set(), 0)


def test_a_full_host_makes_room_for_a_write_and_a_pinned_one_does_not() -> None:
    cache = small(host_slots=2)
    cache.put(1, 2)
    cache.evict_device(2)
    cache.put(3, 4)
    cache.pin_host(cache.node(1, 2))
    cache.evict_device(2)
    assert cache.on_host() == {(1, 2)}
    cache.unpin_host(cache.node(1, 2))
    cache.put(5, 6)
    cache.evict_device(2)
    assert cache.on_host() == {(5, 6)}


# -- loading back ----------------------------------------------------------------------------------


@pytest.mark.parametrize("copies", ["early", "late"])
def test_what_is_loaded_back_is_what_was_written(copies: str) -> None:
    cache = small(copies=copies, layers=2)
    cache.put(1, 2)
    node = cache.put(1, 2, 3)
    cache.evict_device(3)
    found = cache.match((1, 2, 3))
    assert (len(found.slots), found.host_length, found.node) == (0, 3, node)
    slots = cache.load_back(found.node)
    assert len(slots) == 3
    load = cache.start_loads()
    assert load is not None
    assert cache.protected_size == 3
    cache.complete_loads(1)
    assert cache.protected_size == 0
    assert cache.content(1, 2, 3) == list(fingerprints(None, (1, 2, 3)))
    assert cache.on_host() == {(1, 2), (1, 2, 3)}, "the host copy stays"
    assert cache.match((1, 2, 3)).slots == slots


def test_a_late_load_is_not_there_before_it_is_waited_for() -> None:
    cache = small(copies="late", layers=2)
    node = cache.put(1)
    cache.evict_device(1)
    cache.put(7)
    cache.load_back(node)
    load = cache.start_loads()
    assert load is not None
    (due,) = fingerprints(None, (1,))
    assert cache.content(1) != [due]
    load.wait_layer(0)
    assert cache.content(1) != [due], "only the first layer has arrived"
    load.wait_layer(1)
    assert cache.content(1) == [due]


def test_loads_are_started_together_and_in_order() -> None:
    cache = small()
    first, second = cache.put(1), cache.put(2)
    cache.evict_device(2)
    slots = cache.load_back(first) + cache.load_back(second)
    load = cache.start_loads()
    assert load is not None
    assert (load.nodes, load.device) == ([first, second], slots)
    assert cache.start_loads() is None


def test_a_load_below_the_threshold_is_refused_and_changes_nothing() -> None:
    cache = small(load_back_threshold=3)
    node = cache.put(1, 2)
    cache.evict_device(2)
    assert cache.load_back(node) == array("q")
    assert (node.evicted, node.host_lock, cache.protected_size) == (True, 0, 0)
    assert cache.start_loads() is None


@pytest.mark.parametrize(("quota", "loaded"), [(None, 2), (4, 2), (3, 0), (0, 0)])
def test_a_quota_counts_what_the_load_newly_protects(quota: int | None, loaded: int) -> None:
    cache = small()
    cache.put(1, 2)
    below = cache.put(1, 2, 3, 4)
    cache.evict_device(2)
    assert cache.on_device() == {(1, 2)}
    assert len(cache.load_back(below, quota)) == loaded


def test_a_load_evicts_others_for_its_room_and_never_its_own_parent() -> None:
    cache = small(device_slots=4)
    cache.put(1)
    below = cache.put(1, 2, 3)
    cache.evict_device(2)
    cache.put(4, 5)
    assert len(cache.load_back(below)) == 2
    assert cache.on_device() == {(1,), (1, 2, 3)}


def test_a_load_that_finds_no_room_is_refused_and_its_host_copy_stays() -> None:
    cache = small(device_slots=2)
    node = cache.put(1, 2)
    cache.evict_device(2)
    cache.lock(cache.put(3))
    assert len(cache.load_back(node)) == 0
    assert (node.backed_up, node.host_lock, cache.protected_size) == (True, 0, 1)
    assert spread(cache) == (2, 16)


# -- the end ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("page_size", [1, 2])
def test_after_a_reset_nothing_is_left(page_size: int) -> None:
    cache = small(page_size=page_size)
    cache.put(1, 2, 3, 4)
    cache.evict_device(2)
    cache.put(5, 6)
    cache.reset()
    assert cache.nodes() == []
    assert (cache.evictable_size, cache.protected_size, cache.available_size) == (0, 0, 8)
    assert not cache.upkeep.device_leaves
    assert not cache.upkeep.host_leaves
    assert spread(cache) == (8, 16)
    assert len(cache.match((1, 2)).slots) == 0


def test_a_reset_is_refused_while_something_is_held() -> None:
    cache = small(write_policy="write_through", copies="late")
    node = cache.put(1, 2)
    with pytest.raises(RuntimeError, match="2 tokens are locked or in flight"):
        cache.reset()
    cache.complete_writes(1)
    cache.evict_device(2)
    cache.load_back(node)
    with pytest.raises(RuntimeError, match="complete the transfers"):
        cache.reset()


def test_the_root_takes_any_lock_and_needs_none() -> None:
    cache = small()
    root = cache.match((1,)).device_node
    cache.lock(root)
    cache.unlock(root)
    cache.unlock(root)
    assert (root.lock_ref, cache.protected_size) == (0, 0)


# -- anything --------------------------------------------------------------------------------------


@pytest.mark.parametrize("page_size", [1, 4])
@pytest.mark.parametrize("policy", WRITE_POLICIES)
def test_no_slot_is_lost_or_owned_twice_whatever_happens(policy: str, page_size: int) -> None:
    random = Random(f"{policy}/{page_size}")
    cache = small(
        write_policy=policy,
        page_size=page_size,
        device_slots=8 * page_size,
        host_slots=8 * page_size,
    )
    for _ in range(400):
        tokens = tuple(random.randrange(2) for _ in range(page_size * random.randrange(1, 5)))
        match random.randrange(5):
            case 0 | 1:
                cache.evict_device(max(0, len(tokens) - cache.available_size))
                if cache.available_size >= len(tokens):
                    cache.put(*tokens)
            case 2:
                found = cache.match(tokens)
                if found.host_length:
                    cache.load_back(found.node)
                    cache.start_loads()
            case 3:
                cache.complete_writes(1)
                cache.complete_loads(1)
            case _:
                cache.evict_host(page_size)
        assert spread(cache) == (8 * page_size, 8 * page_size)
