"""A request trace of our own: conversations over a few system prompts, some long documents.

What makes the public traces hard is in it: prefixes that all share, turns that repeat all that was
said before, pauses long enough to be evicted, and prompts that nobody asks twice.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from random import Random

from benchmarks.mooncake import BLOCK, Request

SYSTEM_PROMPTS = (1, 2, 4)
"""Blocks of each system prompt."""
ONCE = 0.3
"""The share of conversations that are one question about a long document."""
MOST_BLOCKS = 64
MEAN_PAUSE, MEAN_GAP = 40_000, 1_500
"""Milliseconds: between two turns of a conversation, and between two new conversations."""


class Conversation:
    """Its prompt grows with every turn by the answer and the next question."""

    def __init__(self, random: Random, number: int, start: int) -> None:
        self.random, self.number, self.now = random, number, start
        once = random.random() < ONCE
        self.turns_left = 1 if once else 1 + min(12, int(random.expovariate(1 / 3)))
        self.system = random.randrange(len(SYSTEM_PROMPTS))
        first = random.lognormvariate(8.7 if once else 7.2, 0.8)
        self.length = SYSTEM_PROMPTS[self.system] * BLOCK + 1 + int(first)
        self.blocks = system_blocks(self.system)
        self.rest = 0

    def turn(self, fresh: Iterator[int]) -> Request:
        """The next request. A block that was not full is another one once it has grown."""
        random, length = self.random, min(self.length, MOST_BLOCKS * BLOCK)
        if self.rest:
            self.blocks.pop()
        while len(self.blocks) * BLOCK < length:
            self.blocks.append(next(fresh))
        self.rest = length % BLOCK
        answer = 1 + min(2_000, int(random.expovariate(1 / 340)))
        request = Request(self.now, length, answer, tuple(self.blocks))
        self.turns_left -= 1 if length < MOST_BLOCKS * BLOCK else self.turns_left
        self.length = length + answer + 1 + int(random.lognormvariate(4.5, 1.0))
        self.now += 1 + int(random.expovariate(1 / MEAN_PAUSE))
        return request


def system_blocks(number: int) -> list[int]:
    start = sum(SYSTEM_PROMPTS[:number])
    return list(range(start, start + SYSTEM_PROMPTS[number]))


def conversations(count: int, seed: int = 0) -> tuple[Request, ...]:
    """``count`` requests in the order of their time; the same ones for the same seed."""
    random, fresh, now, number = Random(seed), _from(sum(SYSTEM_PROMPTS)), 0, 0
    waiting: list[tuple[int, int, Conversation]] = []
    requests: list[Request] = []
    while len(requests) < count:
        while not waiting or waiting[0][0] > now:
            heapq.heappush(waiting, (now, number, Conversation(random, number, now)))
            number += 1
            now += 1 + int(random.expovariate(1 / MEAN_GAP))
        _, which, conversation = heapq.heappop(waiting)
        requests.append(conversation.turn(fresh))
        if conversation.turns_left:
            heapq.heappush(waiting, (conversation.now, which, conversation))
    return tuple(requests)


def _from(start: int) -> Iterator[int]:
    while True:
        yield start
        start += 1
