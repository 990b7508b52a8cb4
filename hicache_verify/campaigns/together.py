"""Several things at once, each in a thread of its own; one that fails ends them all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import TypeVar

T = TypeVar("T")

POLL = 0.1


def together(
    tasks: Sequence[Callable[[], T]], *, idle: Callable[[], None], stop: Callable[[], None]
) -> list[T]:
    """What the tasks return. This thread runs ``idle`` meanwhile, so that it hears Ctrl-C.

    What a task or ``idle`` raises comes out of here, after ``stop`` was called and all have ended.
    """
    with ThreadPoolExecutor(max(1, len(tasks))) as pool:
        try:
            futures = [pool.submit(task) for task in tasks]
            waiting = set(futures)
            while waiting:
                done, waiting = wait(waiting, POLL, FIRST_EXCEPTION)
                for future in done:
                    future.result()
                idle()
        except BaseException:
            stop()
            raise
    return [future.result() for future in futures]
