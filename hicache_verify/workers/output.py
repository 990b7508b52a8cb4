"""What a worker writes on its stderr: a file that its parent reads and keeps short."""

from __future__ import annotations

import os
import signal
import time

from hicache_verify.workers import stacks

MOST = 1 << 20
SAMPLES = 10
PAUSE = 0.013

ASK = signal.SIGUSR1
"""The signal at which a worker's faulthandler writes its stack."""


def tail(fd: int) -> str:
    size = os.fstat(fd).st_size
    return os.pread(fd, MOST, max(0, size - MOST)).decode(errors="replace")


def bound(fd: int) -> None:
    """Throw away what a talkative target has written; the file is opened for appending."""
    if os.fstat(fd).st_size > MOST:
        os.ftruncate(fd, 0)


def stack_of_loop(pid: int, fd: int) -> tuple[stacks.Frame, ...]:
    """The frames that several looks at the stack of ``pid`` have in common."""
    os.ftruncate(fd, 0)
    for _ in range(SAMPLES):
        try:
            os.kill(pid, ASK)
        except ProcessLookupError:
            break
        time.sleep(PAUSE)
    return stacks.common(stacks.dumps(tail(fd)))


def stack_of_death(fd: int) -> tuple[stacks.Frame, ...]:
    """What faulthandler wrote last, if the process died of a fault."""
    return stacks.common(stacks.dumps(tail(fd))[-1:])
