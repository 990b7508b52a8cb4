"""The clock of a run: every reading is one tick later than the one before.

Eviction orders compare access times and break ties by iterating over a set; with distinct times
the order is a function of the operations alone.
"""

from __future__ import annotations

import time
from typing import Any


class CountingClock:
    """Stands for the module ``time`` in the release's modules."""

    def __init__(self) -> None:
        self.ticks = 0

    def reset(self) -> None:
        self.ticks = 0

    def monotonic(self) -> float:
        self.ticks += 1
        return float(self.ticks)

    time = monotonic

    def monotonic_ns(self) -> int:
        return int(self.monotonic()) * 1_000_000_000

    time_ns = monotonic_ns

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)  # perf_counter (metrics only), sleep, ...
