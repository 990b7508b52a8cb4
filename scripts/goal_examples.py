"""Writes tests/verify/goal_examples.jsonl: for each goal of reach a short list of operations to it.

Found on the model alone by the random source, and shortened as findings are. Run it again after a
goal was added; what is there already is kept.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from random import Random

from hicache_impl.sglang import releases
from hicache_impl.target import Description
from hicache_model import operations as ops
from hicache_model import rules
from hicache_model.codec import encode_fields
from hicache_model.configuration import WRITE_POLICIES
from hicache_model.dialects import Dialect
from hicache_model.reference import Reference
from hicache_verify.campaigns.cells import Cell
from hicache_verify.goals import GOALS, Goal
from hicache_verify.menu import RandomChooser
from hicache_verify.minimize import minimize
from hicache_verify.reach import Reach, Watch
from hicache_verify.sources.examples import draw_plan
from hicache_verify.trace import Trace

FILE = Path(__file__).parents[1] / "tests" / "verify" / "goal_examples.jsonl"
RELEASES = ("0.5.18", "0.5.14", "0.5.23")
EXAMPLES, TRIED = 3_000, 2


def dialect_of(release: str) -> Dialect:
    return Dialect.of(release, releases.default_cache(release))


def reaches(trace: Trace, goal: Goal) -> bool:
    """Whether all operations are legal, and the last one is the first to reach the goal."""
    configuration = trace.configuration
    cell = Cell.of(configuration)
    dialect = dialect_of(trace.release)
    model, watch = Reference(configuration, dialect), Watch(Reach(), cell, dialect, (goal,))
    watch.begin(model)
    reached: list[str] = []
    for operation in trace.operations:
        if reached or rules.refusal(model, operation) is not None:
            return False
        reached = watch.note(operation, model.apply(operation))
    return bool(reached)


def found(goal: Goal, release: str) -> Iterator[Trace]:
    """Examples of the random source up to where they reach the goal."""
    dialect, known = dialect_of(release), releases.eviction_policies(release)
    target = Description("model", release, "", known, releases.host_may_be_smaller(release))
    for number in range(EXAMPLES):
        cell = Cell(
            WRITE_POLICIES[number % 3],
            1 if number % 2 else 2,
            "lru",
            strip_thinking=goal.where.strip_thinking,
            bigram=goal.where.bigram,
        )
        if not goal.where.holds(cell, dialect):
            continue
        chooser = RandomChooser(Random(f"{goal.name}/{number}"))
        plan = draw_plan(cell, target, chooser)
        model, watch = (
            Reference(plan.configuration, dialect),
            Watch(Reach(), cell, dialect, (goal,)),
        )
        menu, done = plan.menu(model), list[ops.Operation]()
        watch.begin(model)
        for _ in range(plan.length):
            operation = menu.draw(chooser)
            if operation is None:
                continue
            done.append(operation)
            if watch.note(operation, model.apply(operation)):
                yield Trace(plan.configuration, "model", release, tuple(done))
                break


def shortest(goal: Goal) -> Trace:
    """The shortest of a few, each minimized."""
    for release in RELEASES:
        traces = [
            minimize(trace, lambda candidate: reaches(candidate, goal), budget_s=10)
            for trace in islice(found(goal, release), TRIED)
        ]
        if traces:
            return min(traces, key=lambda trace: len(trace.operations))
    raise SystemExit(f"{goal.name}: not reached in {EXAMPLES} examples")


def line(goal: Goal) -> str:
    trace = shortest(goal)
    data = {
        "goal": goal.name,
        "release": trace.release,
        "configuration": encode_fields(trace.configuration),
        "operations": [ops.codec.encode(operation) for operation in trace.operations],
    }
    return json.dumps(data)


def main() -> None:
    old = FILE.read_text(encoding="utf-8").splitlines() if FILE.exists() else []
    known: dict[str, str] = {json.loads(text)["goal"]: text for text in old}
    lines: list[str] = []
    for goal in GOALS:
        kept = known.pop(goal.name, None)
        lines.append(line(goal) if kept is None else kept)
        FILE.write_text("\n".join([*lines, *known.values(), ""]), encoding="utf-8")


if __name__ == "__main__":
    main()
