"""Measuring side by side: every contender once a round, so that all meet the same machine."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence
from statistics import median

import attrs

Run = Callable[[int], int]
"""Does the work of one round (its number is given) and returns how many operations that were."""


def _nothing(number: int) -> None:
    pass


@attrs.frozen
class Contender:
    """``ready`` comes before each ``run`` and is not measured."""

    key: str
    name: str
    run: Run
    ready: Callable[[int], None] = _nothing


@attrs.frozen
class Sample:
    """One run: seconds of this process's CPU, and on the wall."""

    operations: int
    cpu: float
    wall: float

    @property
    def cost(self) -> float:
        """CPU seconds for one operation."""
        return self.cpu / self.operations


@attrs.frozen
class Result:
    """The medians of one contender's rounds; ``ratio`` is its cost over the first contender's.

    ``least`` and ``most`` are the extremes of its cost.
    """

    key: str
    name: str
    operations: int
    cost: float
    wall: float
    ratio: float
    least: float
    most: float


def compare(
    contenders: Sequence[Contender], rounds: int, say: Callable[[str], None]
) -> list[Result]:
    """Round 0 warms up and is not counted. Every other round runs in the opposite order."""
    samples: dict[str, list[Sample]] = {contender.key: [] for contender in contenders}
    for number in range(rounds + 1):
        say(f"round {number} of {rounds}" if number else "warm-up")
        for contender in contenders if number % 2 else reversed(contenders):
            contender.ready(number)
            sample = measure(contender.run, number)
            if number:
                samples[contender.key].append(sample)
    first = samples[contenders[0].key]
    return [_result(contender, samples[contender.key], first) for contender in contenders]


def measure(run: Run, number: int) -> Sample:
    gc.collect()  # nobody pays for what another left behind
    wall, cpu = time.perf_counter(), time.process_time()
    operations = run(number)
    return Sample(operations, time.process_time() - cpu, time.perf_counter() - wall)


def _result(contender: Contender, own: list[Sample], first: list[Sample]) -> Result:
    return Result(
        contender.key,
        contender.name,
        sum(sample.operations for sample in own),
        median(sample.cost for sample in own),
        median(sample.wall / sample.operations for sample in own),
        median(mine.cost / other.cost for mine, other in zip(own, first, strict=True)),
        min(sample.cost for sample in own),
        max(sample.cost for sample in own),
    )
