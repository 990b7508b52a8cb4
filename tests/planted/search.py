"""Runs the random source against one planted bug, in this process, and prints JSON.

``python -m tests.planted.search BUG SEED LIMIT``, or ``CLEAN`` and a cell
(``write_back/1/lru``) for the release as it is. Prints what was found and after how much, and which
laws the bug's witness breaks.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from typing import Any, cast

import attrs

from hicache_impl.target import TargetFactory
from hicache_model.configuration import Configuration
from hicache_model.laws import Step, judge
from hicache_model.operations import Operation, describe
from hicache_verify.cells import Cell
from hicache_verify.divergence import Divergence
from hicache_verify.lockstep import Lockstep
from hicache_verify.session import Session
from hicache_verify.sources.random_source import run_random
from hicache_verify.targets import TargetSpec, open_factory
from tests.planted.bug import RELEASE, Planted
from tests.planted.planted import BANK, HARMLESS

CLEAN = "CLEAN"


@attrs.define
class Hunt:
    """What the random source takes for a session; ends with a find or after ``limit`` operations."""

    factory: TargetFactory
    limit: int
    examples: int = 0
    operations: int = 0
    found: Divergence | None = None
    lockstep: Lockstep | None = None

    def start(self, configuration: Configuration) -> Lockstep:
        self.examples += 1
        self.lockstep = Lockstep(self.factory, configuration, exact=False)
        return self.lockstep

    def step(self, operation: Operation) -> Divergence | None:
        assert self.lockstep is not None
        self.operations += 1
        self.found = self.lockstep.step(operation)
        return self.found

    def end(self) -> None:
        assert self.lockstep is not None
        self.found = self.found or self.lockstep.finish()

    def stop(self) -> bool:
        return self.found is not None or self.operations >= self.limit


def hunt(factory: TargetFactory, cell: Cell, seed: int, limit: int) -> dict[str, Any]:
    began = time.monotonic()
    hunted = Hunt(factory, limit)
    run_random(cast(Session, hunted), cell, seed=seed, examples=None, deadline=None)
    result: dict[str, Any] = {
        "found": hunted.found is not None,
        "examples": hunted.examples,
        "operations": hunted.operations,
        "seconds": round(time.monotonic() - began, 2),
    }
    if hunted.found is not None and hunted.lockstep is not None:
        found, performed = hunted.found, hunted.lockstep.performed
        result |= {
            "law": found.law,
            "kind": found.kind,
            "message": found.message,
            "place": found.place,
            "trace": [describe(operation) for operation in performed[: found.step + 1]],
        }
    return result


def witnessed(factory: TargetFactory, bug: Planted) -> list[str]:
    """The laws that the last operation of the bug's witness breaks; those before break none."""
    assert bug.witness is not None
    configuration = bug.witness.configuration(bug.cell)
    lockstep = Lockstep(factory, configuration, exact=True)
    *before, last = bug.witness.operations
    for operation in before:
        _legally(lockstep, operation)
        found = lockstep.step(operation)
        if found is not None:
            return [f"too early, at {describe(operation)}: {found.law}"]
    _legally(lockstep, last)
    return broken_by(lockstep, configuration, last)


def _legally(lockstep: Lockstep, operation: Operation) -> None:
    refusal = lockstep.illegal(operation)
    if refusal is not None:
        raise ValueError(f"{describe(operation)} is not legal: {refusal}")


def broken_by(
    lockstep: Lockstep, configuration: Configuration, operation: Operation
) -> Sequence[str]:
    before = lockstep.actual
    outcome = lockstep.target.perform(operation)
    step = Step(configuration, operation, outcome, before, lockstep.target.observe())
    return list(dict.fromkeys(law.identifier for law, _ in judge(step)))


def main(name: str, seed: int, limit: int, cell: str = "") -> dict[str, Any]:
    if name == CLEAN:
        write_policy, page_size, eviction_policy = cell.split("/")
        clean = Cell(write_policy, int(page_size), eviction_policy)
        return hunt(open_factory(TargetSpec(release=RELEASE)), clean, seed, limit)
    bug = BANK.get(name) or HARMLESS[name]
    patches = tuple(edit.patch for edit in bug.edits)
    factory = open_factory(TargetSpec(release=bug.release, patches=patches))
    witness = witnessed(factory, bug) if bug.witness else []
    return {**hunt(factory, bug.cell, seed, limit), "witness": witness}


if __name__ == "__main__":
    answer = main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), *sys.argv[4:])
    sys.stdout.write(json.dumps(answer) + "\n")
