"""Which slots are free: nothing is given twice, nothing is lost, pages stay in one piece."""

from __future__ import annotations

from array import array

import pytest

from hicache_impl.native.pools import (
    FreeList,
    HostAllocator,
    PagedAllocator,
    TokenAllocator,
    device_allocator,
    joined,
    slots_of,
)


def test_what_was_given_back_last_is_taken_first_and_in_its_order() -> None:
    numbers = FreeList(1, 6)
    first = numbers.take(3)
    assert first == array("q", [1, 2, 3])
    numbers.give(slots_of([2, 3]))
    assert numbers.take(3) == array("q", [2, 3, 4])


def test_too_many_are_refused_and_nothing_is_taken() -> None:
    numbers = FreeList(0, 2)
    assert numbers.take(3) is None
    assert numbers.take(2) == array("q", [0, 1])
    assert numbers.take(1) is None
    assert numbers.take(0) == array("q")


def test_what_was_taken_does_not_change_when_the_list_does() -> None:
    numbers = FreeList(1, 4)
    taken = numbers.take(2)
    numbers.give(slots_of([1, 2]))
    numbers.take(4)
    assert taken == array("q", [1, 2])


def test_every_change_is_counted() -> None:
    numbers = FreeList(1, 4)
    before = numbers.changes
    numbers.take(2)
    numbers.give(slots_of([1, 2]))
    numbers.clear()
    assert numbers.changes == before + 3


def test_a_page_size_of_one_has_the_plain_allocator() -> None:
    assert type(device_allocator(4, 1)) is TokenAllocator
    assert type(device_allocator(4, 2)) is PagedAllocator


def test_slot_0_is_nobody_s_on_the_device_and_somebody_s_on_the_host() -> None:
    assert TokenAllocator(3).alloc(3) == array("q", [1, 2, 3])
    assert PagedAllocator(4, 2).alloc(4) == array("q", [2, 3, 4, 5])
    assert HostAllocator(3).alloc(3) == array("q", [0, 1, 2])


def test_pages_are_whole_and_begin_at_their_start() -> None:
    pool = PagedAllocator(16, 4)
    assert pool.alloc(5) == array("q", [4, 5, 6, 7, 8])
    assert pool.available == 8, "the rest of a page is not free"
    assert pool.alloc(9) is None
    assert pool.available == 8


def test_a_row_goes_on_in_its_last_page_before_it_takes_a_new_one() -> None:
    pool = PagedAllocator(16, 4)
    row = slots_of(pool.alloc(6) or ())
    assert pool.extend(row, 1) == array("q", [10])
    assert pool.extend(row, 4) == array("q", [10, 11, 12, 13])
    assert pool.extend(row + array("q", [10, 11]), 4) == array("q", [16, 17, 18, 19])


def test_an_extension_that_does_not_fit_takes_nothing() -> None:
    pool = PagedAllocator(8, 4)
    row = pool.alloc(6)
    assert row is not None
    assert pool.extend(row, 3) is None
    assert pool.extend(row, 2) == array("q", [10, 11])


def test_a_part_of_a_page_frees_the_page_once() -> None:
    pool = PagedAllocator(8, 4)
    row = pool.alloc(6)
    assert row is not None
    pool.free(row)
    assert pool.available == 8
    assert sorted(pool.pages.free) == [1, 2]


@pytest.mark.parametrize("pool", [TokenAllocator(8), PagedAllocator(8, 4), HostAllocator(8)])
def test_after_a_clear_everything_is_free_once(pool: TokenAllocator) -> None:
    pool.alloc(4)
    pool.clear()
    assert pool.available == 8
    slots = pool.alloc(8)
    assert slots is not None
    assert len(set(slots)) == 8


def test_parts_are_joined_in_order() -> None:
    parts = [array("q", [3, 4]), array("q"), array("q", [1])]
    assert joined(parts) == array("q", [3, 4, 1])
    assert joined([]) == array("q")
    assert joined(parts[:1]) is parts[0]


def test_what_is_given_twice_is_there_twice_and_nothing_else_is_lost() -> None:
    numbers = FreeList(1, 4)
    numbers.take(1)
    numbers.give(slots_of([1]))
    numbers.give(slots_of([1, 3]))
    assert numbers.free == array("q", [1, 3, 1, 2, 3, 4])
    assert len(numbers) == 6
