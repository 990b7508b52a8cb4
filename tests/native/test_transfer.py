"""Copies between the tiers on a CPU: what moves, when, and in which order."""

from __future__ import annotations

from itertools import pairwise
from random import Random
from typing import Any

import pytest
import torch

from hicache_impl.native.kv import KVBuffers
from hicache_impl.native.pools import slots_of
from hicache_impl.native.transfer import CpuEngine, engine_for, runs, usable_device

LAYERS = 3


def engine(*, early: bool) -> Any:
    device = KVBuffers(6, LAYERS, (1,), torch.int64, "cpu")
    host = KVBuffers(6, LAYERS, (1,), torch.int64, "cpu")
    device.stamp(range(6), [10, 11, 12, 13, 14, 15])
    return CpuEngine(device, host, early=early)


def write(made: Any, device: list[int], host: list[int]) -> Any:
    return made.write(slots_of(device), slots_of(host))


@pytest.mark.parametrize(("device", "host"), [([1, 2], [3, 4]), ([5, 1], [0, 4]), ([3], [3])])
def test_rows_go_where_they_should_in_all_layers_and_nowhere_else(
    device: list[int], host: list[int]
) -> None:
    made = engine(early=True)
    assert write(made, device, host).done()
    due = [0] * 6
    for source, target in zip(device, host, strict=True):
        due[target] = 10 + source
    assert made.host_kv.contents() == due
    assert made.device_kv.contents() == [10, 11, 12, 13, 14, 15]


def test_a_load_is_the_way_back() -> None:
    made = engine(early=True)
    write(made, [1, 2], [4, 5])
    made.load(slots_of([3, 0]), slots_of([4, 5]))
    assert made.device_kv.contents() == [12, 11, 12, 11, 14, 15]


def test_a_late_copy_moves_nothing_before_somebody_waits() -> None:
    made = engine(early=False)
    transfer = write(made, [1], [2])
    assert not transfer.done()
    assert made.host_kv.contents() == [0] * 6
    transfer.wait()
    assert transfer.done()
    assert made.host_kv.contents()[2] == 11


def test_a_late_copy_reads_its_source_late_and_an_early_one_does_not() -> None:
    for early, due in ((True, 11), (False, 99)):
        made = engine(early=early)
        transfer = write(made, [1], [2])
        made.device_kv.stamp([1], [99])
        transfer.wait()
        assert made.host_kv.contents()[2] == due


def test_waiting_for_one_waits_for_those_before_it_and_not_after() -> None:
    made = engine(early=False)
    first, second, third = (write(made, [n], [n]) for n in (1, 2, 3))
    second.wait()
    assert (first.done(), second.done(), third.done()) == (True, True, False)
    first.wait()
    third.wait()
    assert made.host_kv.contents() == [0, 11, 12, 13, 0, 0]


def test_writes_and_loads_wait_for_their_own_kind_only() -> None:
    made = engine(early=False)
    one = write(made, [1], [1])
    other = made.load(slots_of([5]), slots_of([4]))
    other.wait()
    assert not one.done()


def test_a_layer_is_there_when_it_is_waited_for_and_the_next_one_is_not() -> None:
    made = engine(early=False)
    before, transfer = write(made, [5], [5]), write(made, [1], [2])
    transfer.wait_layer(0)
    assert before.done()
    assert not transfer.done()
    arrived = [bool(made.host_kv.k[layer][2]) for layer in range(LAYERS)]
    assert arrived == [True, False, False]
    transfer.wait_layer(0)
    transfer.wait_layer(LAYERS - 1)
    assert transfer.done()
    assert made.host_kv.contents()[2] == 11


def test_a_copy_that_was_waited_for_layer_by_layer_moves_nothing_again() -> None:
    made = engine(early=False)
    transfer = write(made, [1], [2])
    transfer.wait_layer(LAYERS - 1)
    made.host_kv.stamp([2], [77])
    write(made, [3], [3]).wait()
    transfer.wait()
    assert made.host_kv.contents()[2] == 77


def test_no_rows_are_a_transfer_too() -> None:
    made = engine(early=False)
    transfer = write(made, [], [])
    transfer.wait()
    assert transfer.done()


def test_runs_are_the_longest_stretches_and_together_the_whole() -> None:
    assert list(runs(slots_of([3, 4, 5]), slots_of([0, 1, 2]))) == [(3, 0, 3)]
    assert list(runs(slots_of([3, 4, 6, 7]), slots_of([0, 1, 2, 3]))) == [(3, 0, 2), (6, 2, 2)]
    assert list(runs(slots_of([5, 4]), slots_of([0, 1]))) == [(5, 0, 1), (4, 1, 1)]
    assert list(runs(slots_of([]), slots_of([]))) == []


def test_runs_cover_each_pair_once_in_order() -> None:
    random = Random(0)
    for _ in range(200):
        count = random.randrange(1, 20)
        sources = sorted(random.sample(range(30), count))
        targets = random.sample(range(30), count)
        found = list(runs(slots_of(sources), slots_of(targets)))
        pairs = [(s + i, t + i) for s, t, length in found for i in range(length)]
        assert pairs == list(zip(sources, targets, strict=True))
        for (s, t, length), after in pairwise(found):
            assert (s + length, t + length) != after[:2], "one stretch was cut in two"


@pytest.mark.parametrize("name", ["gpu9", "", "cuda:x", "cpu:-1"])
def test_a_device_that_torch_does_not_know_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"torch knows no device|is neither"):
        usable_device(name)


@pytest.mark.parametrize("name", ["meta", "mps"])
def test_a_device_that_the_cache_does_not_know_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="neither cpu nor cuda"):
        usable_device(name)


def test_the_engine_of_a_cpu_copies_as_asked() -> None:
    made = engine(early=True)
    for copies, early in (("early", True), ("late", False)):
        found: Any = engine_for(made.device_kv, made.host_kv, "cpu", copies, 0)
        assert (found.writes.early, found.loads.early) == (early, early)
