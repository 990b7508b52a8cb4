"""Both searches find what is easy to find, give up in time, and are compared by their medians."""

from __future__ import annotations

from benchmarks import bugs
from hicache_impl.bugs import find
from hicache_verify.campaigns.cells import Cell

BUG = find("demoted-tokens-stay-counted")
CELL = Cell("write_back", 1, "lru")
PATIENCE = 300.0


def test_both_find_a_bug_that_shows_at_once() -> None:
    assert bugs.ours(BUG, CELL, 0, PATIENCE) is not None
    assert bugs.peer(BUG, CELL, 0, PATIENCE) is not None


def test_both_give_up_where_nothing_shows() -> None:
    hidden, elsewhere = find("host-leaf-asks-evicted"), Cell("write_through", 1, "lru")
    assert bugs.ours(hidden, elsewhere, 0, 0.2) is None
    assert bugs.peer(hidden, elsewhere, 0, 0.2) is None


def test_what_was_not_found_counts_as_for_ever() -> None:
    assert bugs.middle([1.0, None, 2.0]) == 2.0
    assert bugs.middle([None, None, 2.0]) is None
    assert bugs.row(BUG, [1.0, 1.0], [3.0, None])[2:] == ("2 of 2", 1.0, "1 of 2", None, None)
    assert bugs.row(BUG, [1.0, 1.0], [3.0, 5.0])[2:] == ("2 of 2", 1.0, "2 of 2", 4.0, 4.0)


def test_the_table_has_a_row_for_each_bug_that_is_named() -> None:
    told: list[str] = []
    table = bugs.table([BUG.identifier], 1, PATIENCE, told.append)
    assert [row[0] for row in table.rows] == [BUG.identifier] == [told[0].split()[0]]
