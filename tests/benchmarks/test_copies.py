"""Copies of our engine against a plain one, as far as a machine without a GPU shows it."""

from __future__ import annotations

import torch

from benchmarks import copies
from benchmarks.copies import Copies, scattered, table


def test_scattered_slots_are_all_slots_in_stretches() -> None:
    slots = scattered(64, 16)
    assert sorted(slots) == list(range(64))
    assert list(slots) != sorted(slots)
    assert all(slots[n] + 1 == slots[n + 1] for n in range(63) if n % 16 != 15)
    assert list(scattered(64, 64)) == list(range(64))


def test_both_ways_copy_the_same() -> None:
    made = Copies("cpu", 32)
    made.device.stamp(range(32), range(1, 33))
    made.ours("write", scattered(32, 8), scattered(32, 32))
    assert made.host.contents() == [made.device.contents()[slot] for slot in scattered(32, 8)]
    made.plain("write")
    assert made.host.contents() == made.device.contents()


def test_the_table_has_a_plain_copy_for_each_way() -> None:
    rows = table(64, lambda text: None).rows
    ways = [(row[0], row[1]) for row in rows]
    assert ways == [
        (way, stretch)
        for name in ("write", "load")
        for way, stretch in [(f"{name}, plain", 64), (name, 64), (name, 16), (name, 1)]
    ]
    assert all(isinstance(row[3], float) and row[3] > 0 for row in rows)


def test_where_there_is_no_gpu_the_table_says_so() -> None:
    said = " ".join(copies.notes(64))
    assert ("No GPU" in said) != torch.cuda.is_available()
