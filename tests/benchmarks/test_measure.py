"""Measuring side by side."""

from __future__ import annotations

from benchmarks.measure import Contender, compare


def test_every_contender_runs_once_a_round_and_the_order_turns() -> None:
    ran: list[tuple[str, int]] = []

    def contender(key: str) -> Contender:
        def run(number: int) -> int:
            ran.append((key, number))
            return 10

        return Contender(key, key, run)

    results = compare([contender("a"), contender("b")], 2, lambda text: None)
    assert ran == [("b", 0), ("a", 0), ("a", 1), ("b", 1), ("b", 2), ("a", 2)]
    assert [result.operations for result in results] == [20, 20], "the warm-up does not count"


def test_ratios_are_to_the_first_contender() -> None:
    def work(number: int) -> int:
        return sum(range(20_000)) and 1

    first, second = compare([Contender(k, k, work) for k in "ab"], 1, lambda text: None)
    assert first.ratio == 1
    assert second.ratio == second.cost / first.cost
