"""From what is left of a process that hung or died to a divergence with its trace."""

from __future__ import annotations

import signal
import sysconfig
from pathlib import Path

import attrs

from hicache_model.operations import describe
from hicache_verify.divergence import Divergence
from hicache_verify.workers.journal import Entry, Pulse
from hicache_verify.workers.messages import Case
from hicache_verify.workers.stacks import Frame
from hicache_verify.workers.watch import HANG, MEMORY, Limits

DEATH, LOST = "death", "lost"
OURS = ("hicache_verify", "hicache_model", "hicache_impl", "torch", "hypothesis")


@attrs.frozen
class Ending:
    """How a process ended, and what it was doing.

    ``reason`` is ``hang``, ``memory`` (both times we ended it), ``death``, or ``lost``, where its
    machine is gone and nobody knows; ``returncode`` is as ``subprocess`` has it. ``frames`` are the
    stack, outermost first, where it could be seen.
    """

    reason: str
    returncode: int | None
    entry: Entry
    frames: tuple[Frame, ...] = ()
    output: str = ""

    @property
    def how(self) -> str:
        """``SIGKILL``, ``exit code 3``; the same for every run of the same case."""
        if self.reason == HANG:
            return "no answer"
        if self.reason == MEMORY:
            return "memory"
        if self.reason == LOST:
            return "its machine was lost"
        code = self.returncode or 0
        return f"exit code {code}" if code >= 0 else _signal_name(-code)

    @property
    def case(self) -> Case | None:
        """The example that was running."""
        if self.entry.configuration is None:
            return None
        return Case(self.entry.configuration, self.entry.operations)


def lost(pulse: Pulse) -> Ending:
    """What is known of a process whose machine is gone: how far it had come."""
    entry = Entry(pulse.phase, pulse.minimizing, pulse.examples, pulse.operations, None, ())
    return Ending(LOST, None, entry)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def judge(ending: Ending, limits: Limits) -> Divergence | None:
    """The divergence that the ending is; None where the target had no part in it."""
    entry = ending.entry
    if entry.configuration is None or not _is_targets_fault(ending):
        return None
    op = entry.operations[-1] if entry.operations else None
    found = Divergence(
        kind=HANG if ending.reason == HANG else DEATH,
        law="no-hang" if ending.reason == HANG else "no-death",
        oracle="engine",
        message=_sentence(ending, limits),
        step=max(0, len(entry.operations) - 1),
        operation=op,
        place=place(ending.frames),
        exception=ending.how,
        traceback=_traceback(ending) or None,
    )
    return found.of_core(entry.core) if entry.core else found


def _is_targets_fault(ending: Ending) -> bool:
    """Only where it stands still between two operations is it we who hold it up."""
    return ending.entry.phase.in_target or ending.reason != HANG


def _sentence(ending: Ending, limits: Limits) -> str:
    entry = ending.entry
    doing = f"{describe(entry.operations[-1])!s:.200}" if entry.operations else "the construction"
    if not entry.phase.in_target:
        doing = f"or after {doing}"
    if ending.reason == HANG:
        where = f" (in {place(ending.frames)})" if ending.frames else ""
        return f"{doing} does not return within {limits.operation:g} s{where}"
    if ending.reason == MEMORY:
        return f"during {doing} the process grew beyond {limits.memory >> 20} MiB"
    return f"the process ended with {ending.how} during {doing}"


def place(frames: tuple[Frame, ...]) -> str | None:
    """``module:function`` of the innermost frame in the target; no line, since a loop has many."""
    chosen = next((frame for frame in reversed(frames) if _is_target(frame)), None)
    if chosen is None and frames:
        chosen = frames[-1]
    return f"{Path(chosen.file).stem}:{chosen.function}" if chosen else None


def _is_target(frame: Frame) -> bool:
    path = Path(frame.file)
    if any(part in OURS for part in path.parts) or frame.file.startswith("<"):
        return False
    return "site-packages" in path.parts or not path.is_relative_to(_STDLIB)


_STDLIB = sysconfig.get_path("stdlib")


def _traceback(ending: Ending) -> str:
    lines = [f"{frame.file}:{frame.line} in {frame.function}" for frame in ending.frames]
    return "\n".join(lines) or ending.output[-2000:]
