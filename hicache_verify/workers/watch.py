"""How long a process that runs a target may stand still, and how much memory it may take."""

from __future__ import annotations

import time
from collections.abc import Callable

import attrs
import psutil

from hicache_verify.workers.journal import JournalReader, Phase

HANG, MEMORY = "hang", "memory"


@attrs.frozen
class Limits:
    """Seconds, bytes and counts that nothing in a run exceeds.

    ``operation`` is the time for one operation of the target, ``source`` for what happens between
    two of them, ``opening`` for fetching and importing a target. ``candidates`` ends minimizing
    before its time does, so that a slow machine minimizes as a fast one. ``minimizing_late`` is for
    a finding at the very end of a budget.
    """

    operation: float = 10.0
    source: float = 60.0
    opening: float = 2000.0
    memory: int = 4 << 30
    minimizing: float = 30.0
    minimizing_late: float = 8.0
    candidates: int = 2000
    isolated_minimizing: float = 60.0
    isolated_operation: float = 2.0
    isolated_candidates: int = 400
    deaths_per_key: int = 3
    broken_workers: int = 3
    lost_machines: int = 64
    findings: int = 64

    def of(self, phase: Phase) -> float:
        if phase is Phase.STARTING:
            return self.opening
        return self.operation if phase.in_target else self.source


class Watch:
    """Notices that a process no longer gets on, from its journal; asks nothing of the process."""

    def __init__(
        self,
        journal: JournalReader,
        pid: int,
        limits: Limits,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._journal = journal
        self._limits = limits
        self._clock = clock
        self._process = psutil.Process(pid)
        self.restart()

    def restart(self) -> None:
        """The process has been given something to do: time counts from now."""
        self._beats = -1
        self._since = self._clock()

    def overdue(self) -> str | None:
        """``hang`` or ``memory``, or None while all is well."""
        pulse = self._journal.pulse()
        if pulse.beats != self._beats:
            self._beats, self._since = pulse.beats, self._clock()
        elif self._clock() - self._since > self._limits.of(pulse.phase):
            return HANG
        return MEMORY if self._resident() > self._limits.memory else None

    def _resident(self) -> int:
        try:
            return int(self._process.memory_info().rss)
        except psutil.Error:
            return 0  # it has just ended; whoever watches will see that too
