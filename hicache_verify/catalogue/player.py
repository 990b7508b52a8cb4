"""``python -m hicache_verify.catalogue.player``: plays traces on one release, in its own process.

Reads one JSON job from standard input: ``{"release": V, "patches": [[module, old, new]], "traces":
[text]}``. Writes JSON lines: ``opened`` or ``refused``, then for each trace its ``step`` lines and
``done``. The parent keeps the deadline.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from typing import Any

from hicache_impl.target import TargetFactory
from hicache_model import operations, outcomes
from hicache_verify import trace as traces
from hicache_verify.catalogue.events import AGREED, DIVERGED, FAILED
from hicache_verify.divergence import Divergence
from hicache_verify.replay import Replay, Step, replay
from hicache_verify.report.listing import divergence_block, step_block
from hicache_verify.targets import TargetSpec, open_factory
from hicache_verify.trace import Trace

Say = Callable[[dict[str, Any]], None]


def main() -> int:
    say = _private_output()
    job = json.load(sys.stdin)
    spec = TargetSpec(
        release=job["release"], patches=tuple(tuple(patch) for patch in job["patches"])
    )
    try:
        factory = open_factory(spec)
    except Exception as error:  # noqa: BLE001 - every reason not to open is told to the parent
        say({"is": "refused", "mistake": type(error).__name__, "message": str(error)})
        return 0
    say({"is": "opened"})
    for text in job["traces"]:
        _play(factory, traces.loads(text), say)
    return 0


def _private_output() -> Say:
    """Lines go to the real standard output; what a release prints goes to standard error."""
    pipe = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def say(line: dict[str, Any]) -> None:
        pipe.write(json.dumps(line) + "\n")
        pipe.flush()

    return say


def _play(factory: TargetFactory, trace: Trace, say: Say) -> None:
    number = 0

    def tell(step: Step, divergence: Divergence | None) -> None:
        nonlocal number
        number += 1
        say(_step_line(trace, number, step, divergence))

    try:
        say(_done_line(replay(factory, trace, watch=tell)))
    except Exception as error:  # noqa: BLE001 - one trace that cannot be played stops no other
        say({"is": "done", "verdict": FAILED, "message": f"{type(error).__name__}: {error}"})


def _step_line(
    trace: Trace, number: int, step: Step, divergence: Divergence | None
) -> dict[str, Any]:
    concerned = {pair.path for pair in divergence.nodes} if divergence else ()
    return {
        "is": "step",
        "number": number,
        "operation": operations.codec.encode(step.operation),
        "outcome": step.outcome and outcomes.codec.encode(step.outcome),
        "picture": step_block(trace, number, step, concerned)[1:],
    }


def _done_line(played: Replay) -> dict[str, Any]:
    found = played.divergence
    if found is not None:
        verdict, law, message = DIVERGED, found.law, found.message
    elif played.illegal is not None:
        index, reason = played.illegal
        verdict, law, message = FAILED, "", f"operation {index + 1} is not legal there: {reason}"
    else:
        verdict, law, message = AGREED, "", ""
    report = divergence_block(found) if found else []
    return {"is": "done", "verdict": verdict, "law": law, "message": message, "report": report}


if __name__ == "__main__":
    sys.exit(main())
