"""Plays the operations of a trace on a target, in lockstep with the model, in this process.

Deadlines and processes that die are the worker's business, not of this file.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import attrs

from hicache_impl.target import AnyFactory
from hicache_model.operations import Operation
from hicache_model.outcomes import Outcome
from hicache_model.snapshot import Snapshot
from hicache_verify.divergence import Divergence
from hicache_verify.lockstep import Lockstep
from hicache_verify.side_by_side import in_lockstep
from hicache_verify.trace import Trace

ERROR, SKIP = "error", "skip"


class Step(NamedTuple):
    """One operation, what the target answered, and its state afterwards; None where it raised."""

    operation: Operation
    outcome: Outcome | None
    snapshot: Snapshot | None


@attrs.define(frozen=True, slots=True)
class Replay:
    """``operations`` were performed, the last of them diverged if ``divergence`` is not None.

    ``illegal`` is the index in the trace of the first operation that was not legal in its state,
    and why; with ``on_illegal="skip"`` the replay went on without it.
    """

    operations: tuple[Operation, ...]
    divergence: Divergence | None
    illegal: tuple[int, str] | None = None


def replay(
    factory: AnyFactory,
    trace: Trace,
    *,
    on_illegal: str = ERROR,
    watch: Callable[[Step, Divergence | None], None] | None = None,
) -> Replay:
    """Play to the end, the first divergence, or (with ``"error"``) the first illegal operation.

    ``watch`` is told of each step as soon as it is done.
    """
    lockstep = in_lockstep(factory, trace.configuration)
    performed: list[Operation] = []
    divergence: Divergence | None = None
    illegal: tuple[int, str] | None = None
    for index, op in enumerate(trace.operations):
        reason = lockstep.illegal(op)
        if reason is not None:
            illegal = illegal or (index, reason)
            if on_illegal == SKIP:
                continue
            break
        divergence = lockstep.step(op)
        performed.append(op)
        if watch is not None:
            watch(_step(lockstep, op, divergence), divergence)
        if divergence is not None:
            break
    return Replay(tuple(performed), divergence, illegal)


def _step(lockstep: Lockstep, op: Operation, divergence: Divergence | None) -> Step:
    if divergence is None or divergence.exception is None:
        return Step(op, lockstep.outcome, lockstep.actual)
    try:
        return Step(op, None, lockstep.target.observe())
    except Exception:  # noqa: BLE001 - a target that raised may raise again when looked at
        return Step(op, None, None)
