"""Which slots are free, in each tier. Nothing here knows what lies in them."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from typing import TypeAlias

Slots: TypeAlias = "array[int]"
"""Nobody changes one that was given away: a node may hold it."""


def slots_of(numbers: Iterable[int]) -> Slots:
    """Any numbers as slots."""
    return numbers if isinstance(numbers, array) else array("q", numbers)


def joined(parts: Sequence[Slots]) -> Slots:
    """One after the other; a single one is not copied."""
    return parts[0] if len(parts) == 1 else array("q", b"".join(parts))


class FreeList:
    """A stack of numbers; what was given back last is taken first, in the order in which it came.

    ``changes`` counts how often it changed.
    """

    def __init__(self, first: int, size: int) -> None:
        self.first, self.size, self.changes = first, size, 0
        self.clear()

    def clear(self) -> None:
        """Everything is free again, in ascending order."""
        self.free = array("q", range(self.first, self.first + self.size))

    @property
    def free(self) -> Slots:
        """The free numbers, the next one first."""
        return self._numbers[self._next :]

    @free.setter
    def free(self, numbers: Slots) -> None:
        self.changes += 1
        self._numbers, self._next = numbers, 0

    def __len__(self) -> int:
        return len(self._numbers) - self._next

    def take(self, count: int) -> Slots | None:
        """``count`` numbers, or None (and nothing taken) where fewer are free."""
        if count > len(self):
            return None
        self.changes += 1
        start = self._next
        self._next += count
        return self._numbers[start : self._next]

    def give(self, numbers: Sequence[int]) -> None:
        """Back to where numbers were taken from; what comes twice is there twice."""
        self.changes += 1
        start = max(0, self._next - len(numbers))
        self._numbers[start : self._next] = slots_of(numbers)
        self._next = start


class TokenAllocator:
    """Device slots one by one: 1 to ``size`` (slot 0 is padding, which nobody owns)."""

    page_size = 1

    def __init__(self, size: int, page_size: int = 1) -> None:
        self.pages = FreeList(1, size)

    @property
    def available(self) -> int:
        """Free tokens."""
        return len(self.pages)

    def clear(self) -> None:
        self.pages.clear()

    def alloc(self, count: int) -> Slots | None:
        """Slots for ``count`` tokens, or None where there are too few."""
        return self.pages.take(count)

    def extend(self, row: Sequence[int], count: int) -> Slots | None:
        """Slots for ``count`` tokens that follow those in ``row``, or None."""
        return self.pages.take(count)

    def free(self, slots: Sequence[int]) -> None:
        self.pages.give(slots)


class PagedAllocator:
    """Device slots by pages of ``page_size``: pages 1 up; page 0 is padding, which nobody owns."""

    def __init__(self, size: int, page_size: int) -> None:
        self.page_size = page_size
        self.pages = FreeList(1, size // page_size)
        slots = array("q", range(size + page_size))
        self._slots = [slots[first : first + page_size] for first in range(0, size + 1, page_size)]

    @property
    def available(self) -> int:
        """Free tokens, in whole pages."""
        return len(self.pages) * self.page_size

    def clear(self) -> None:
        self.pages.clear()

    def alloc(self, count: int) -> Slots | None:
        """Slots for ``count`` tokens in new pages, or None where there are too few."""
        pages = self.pages.take(-(-count // self.page_size))
        if pages is None:
            return None
        of_page = self._slots
        return joined([of_page[page] for page in pages])[:count]

    def extend(self, row: Sequence[int], count: int) -> Slots | None:
        """Slots for ``count`` tokens after those in ``row``: what is left of its last page first.

        None, and nothing taken, where too few pages are free.
        """
        rest = self._rest_of_page(row)[:count]
        fresh = self.alloc(count - len(rest))
        return None if fresh is None else rest + fresh

    def _rest_of_page(self, row: Sequence[int]) -> Slots:
        left = -len(row) % self.page_size
        return array("q", range(row[-1] + 1, row[-1] + 1 + left) if left else ())

    def free(self, slots: Sequence[int]) -> None:
        """Give back the pages of ``slots``, which begin at a page's start."""
        self.pages.give([slot // self.page_size for slot in slots[:: self.page_size]])


class HostAllocator:
    """Host slots 0 to ``size`` - 1. Callers ask for whole pages, so pages stay in one piece."""

    def __init__(self, size: int) -> None:
        self.slots = FreeList(0, size)

    @property
    def available(self) -> int:
        """Free tokens."""
        return len(self.slots)

    def clear(self) -> None:
        self.slots.clear()

    def alloc(self, count: int) -> Slots | None:
        """Slots for ``count`` tokens, or None where there are too few."""
        return self.slots.take(count)

    def free(self, slots: Sequence[int]) -> None:
        self.slots.give(slots)


DeviceAllocator: TypeAlias = "TokenAllocator | PagedAllocator"


def device_allocator(
    size: int, page_size: int, paged: type[PagedAllocator] = PagedAllocator
) -> DeviceAllocator:
    """The plain one where a page is one token."""
    return (TokenAllocator if page_size == 1 else paged)(size, page_size)
