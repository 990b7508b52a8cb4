"""How fast our transfer engine copies, against one plain copy of as many bytes.

On a GPU the plain copy is one asynchronous copy between the device and pinned memory. Without one
both tiers are in main memory, and the figures say nothing of a GPU.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from random import Random
from statistics import median
from typing import Any

import torch

from benchmarks.tables import Column, Table
from hicache_impl.native.kv import KVBuffers
from hicache_impl.native.pools import Slots, slots_of
from hicache_impl.native.transfer import engine_for

LAYERS, WIDTH = 8, 256
"""Layers, and words of eight bytes in a row of K: 2 KiB, as of eight heads of 128 in bfloat16."""
TOKENS = 4096
STRETCHES = (TOKENS, 256, 64, 16, 1)
REPEATS = 5

COLUMNS = (
    Column("way", "way"),
    Column("stretch", "tokens in a row", "{:,}"),
    Column("milliseconds", "ms", "{:,.2f}"),
    Column("gigabytes", "GB/s", "{:,.2f}"),
    Column("share", "of a plain copy", "{:.0%}"),
)


def table(tokens: int, say: Callable[[str], None]) -> Table:
    """Both ways, for stretches of several lengths; ``tokens`` in each copy."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    copies = Copies(device, tokens)
    rows: list[tuple[str | int | float, ...]] = []
    for way in ("write", "load"):
        plain = timed(lambda way=way: copies.plain(way))  # type: ignore[misc]
        rows.append((f"{way}, plain", tokens, 1e3 * plain, copies.gigabytes / plain, 1.0))
        for stretch in stretches(tokens):
            say(f"copies: {way}, stretches of {stretch}")
            slots = scattered(tokens, stretch), scattered(tokens, tokens)
            taken = timed(lambda way=way, slots=slots: copies.ours(way, *slots))  # type: ignore[misc]
            speed = copies.gigabytes / taken
            rows.append((way, stretch, 1e3 * taken, speed, plain / taken))
    return Table(f"Copies: our engine on {copies.name}", COLUMNS, tuple(rows), notes(tokens))


def stretches(tokens: int) -> Iterator[int]:
    return (stretch for stretch in STRETCHES if stretch <= tokens)


def scattered(tokens: int, stretch: int) -> Slots:
    """Stretches of slots in no order."""
    starts = list(range(0, tokens, stretch))
    Random(0).shuffle(starts)
    return slots_of([slot for start in starts for slot in range(start, start + stretch)])


class Copies:
    """Buffers of both tiers, and two ways to copy between them; each returns when it is done."""

    def __init__(self, device: str, tokens: int) -> None:
        on_gpu = device == "cuda"
        shape = tokens, LAYERS, (WIDTH,), torch.int64
        self.device = KVBuffers(*shape, device)
        self.host = KVBuffers(*shape, "cpu", pinned=on_gpu)
        self.engine = engine_for(self.device, self.host, device, "early", 0)
        self.gigabytes = self.device.words.numel() * 8 / 1e9
        self.name = torch.cuda.get_device_name() if on_gpu else "a CPU"
        self.finish: Callable[[], Any] = torch.cuda.synchronize if on_gpu else lambda: None

    def plain(self, way: str) -> None:
        ends = self.device.words, self.host.words
        source, target = ends if way == "write" else ends[::-1]
        target.copy_(source, non_blocking=True)
        self.finish()

    def ours(self, way: str, device: Slots, host: Slots) -> None:
        issue = self.engine.write if way == "write" else self.engine.load
        issue(device, host).wait()


def timed(copy: Callable[[], None]) -> float:
    """Seconds on the wall, the median of some repeats after one that warms up."""
    copy()
    taken = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        copy()
        taken.append(time.perf_counter() - started)
    return median(taken)


def notes(tokens: int) -> tuple[str, ...]:
    size = f"{tokens:,} tokens, {LAYERS} layers, K and V of {8 * WIDTH:,} bytes a token and layer."
    if torch.cuda.is_available():
        return (size,)
    return (size, "No GPU (torch.cuda.is_available() is false): both tiers are in main memory.")
