"""What a target raises past everybody who expects an exception: SystemExit, a panic in Rust."""

from __future__ import annotations

import signal
import traceback as tracebacks
from collections.abc import Sequence
from types import TracebackType

from hicache_model.operations import Operation
from hicache_verify.divergence import Divergence

OURS = ("hicache_verify", "hicache_model")
MAX_TRACEBACK = 20_000


def escaped(error: BaseException, operations: Sequence[Operation]) -> Divergence:
    """A divergence at the last of ``operations``; Ctrl-C of a user's is raised again."""
    if isinstance(error, KeyboardInterrupt) and _can_be_interrupted():
        raise error
    place, in_target = _place(error.__traceback__)
    name = type(error).__name__
    who = "the target raised" if in_target else "hicache-verify itself failed with"
    text = str(error).splitlines()[0] if str(error) else ""
    return Divergence(
        kind="crash",
        law="no-crash" if in_target else "engine-sound",
        oracle="engine",
        message=f"{who} {name}" + (f": {text}" if text else ""),
        step=max(0, len(operations) - 1),
        operation=operations[-1] if operations else None,
        place=place,
        exception=name,
        traceback="".join(tracebacks.format_exception(error))[-MAX_TRACEBACK:],
    )


def _can_be_interrupted() -> bool:
    """False in a worker, where Ctrl-C does not reach: there it is the target that raised."""
    return signal.getsignal(signal.SIGINT) is not signal.SIG_IGN


def _place(trace: TracebackType | None) -> tuple[str | None, bool]:
    """The deepest frame outside this tool, and True; else the deepest of all, and False."""
    places = [
        (frame.f_globals.get("__name__", "?"), frame.f_code.co_name, line)
        for frame, line in tracebacks.walk_tb(trace)
    ]
    theirs = [place for place in places if place[0].split(".")[0] not in OURS]
    chosen = (theirs or places)[-1:]
    return (":".join(map(str, chosen[0])) if chosen else None), bool(theirs)
