"""The benchmark of several workers: its arithmetic, and one real campaign."""

from __future__ import annotations

from benchmarks import workers
from benchmarks.workers import Sample, read, summary


def test_rates_are_medians_and_ratios_are_taken_round_by_round() -> None:
    one = [Sample(100, 1.0), Sample(200, 1.0), Sample(300, 1.0)]
    two = [Sample(200, 1.0), Sample(300, 1.0), Sample(600, 1.0)]
    table = summary("native", {1: one, 2: two}, 20)
    assert table.rows == ((1, 600, 200.0, 1.0), (2, 1100, 300.0, 2.0))


def test_what_is_measured_is_the_time_of_exploring() -> None:
    cells = [{"operations": 30, "seconds": 1.0}, {"operations": 10, "seconds": 1.0}]
    assert read({"seconds": 9.0, "operations": 40, "cells": cells}) == Sample(40, 2.0)
    assert read({"cells": cells}).rate == 20


def test_a_campaign_is_run_as_anybody_would() -> None:
    sample = read(workers.run("native", 2, budget=1, seed=0))
    assert sample.operations > 0
