"""Runs the random source against one planted bug, in this process, and prints JSON.

``python -m tests.planted.search BUG SEED LIMIT`` prints what was found, after how much, and which
laws the bug's witness breaks; ``CLEAN SEED LIMIT write_back/1/lru`` does it for the release as it
is. ``WITNESSES`` plays all witnesses and nothing else, each in a process forked after torch is
imported.
"""

from __future__ import annotations

import json
import multiprocessing
import sys
import time
from typing import Any, cast

import attrs

from hicache_impl.target import SideBySide, TargetFactory
from hicache_model.configuration import Configuration
from hicache_model.laws import Step, judge
from hicache_model.operations import Operation, describe
from hicache_verify.campaigns.cells import Cell
from hicache_verify.divergence import Divergence
from hicache_verify.lockstep import Lockstep
from hicache_verify.session import Session
from hicache_verify.sources.random_source import run_random
from hicache_verify.targets import TargetSpec, open_factory
from tests.planted.bug import RELEASE, Planted
from tests.planted.planted import BANK, HARMLESS

CLEAN = "CLEAN"
WITNESSES = "WITNESSES"


@attrs.define
class Hunt:
    """What the random source takes for a session; ends with a find or after so many operations."""

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


def broken_by(lockstep: Lockstep, configuration: Configuration, operation: Operation) -> list[str]:
    before = lockstep.actual
    outcome = lockstep.target.perform(operation)
    after, host_leaf = lockstep.target.observe(), lockstep.model.dialect.host_leaf
    step = Step(configuration, operation, outcome, before, after, host_leaf)
    return list(dict.fromkeys(law.identifier for law, _ in judge(step)))


def released(release: str, patches: tuple[tuple[str, str, str], ...] = ()) -> TargetFactory:
    factory = open_factory(TargetSpec(release=release, patches=patches))
    assert not isinstance(factory, SideBySide)  # which takes two cores
    return factory


def opened(bug: Planted) -> TargetFactory:
    return released(bug.release, tuple(edit.patch for edit in bug.edits))


def search(name: str, seed: int, limit: int, cell: str = "") -> dict[str, Any]:
    """``hunt`` on a bug of the bank, or on the release as it is in ``cell``."""
    if name == CLEAN:
        write_policy, page_size, eviction_policy = cell.split("/")
        clean = Cell(write_policy, int(page_size), eviction_policy)
        return hunt(released(RELEASE), clean, seed, limit)
    bug = BANK.get(name) or HARMLESS[name]
    factory = opened(bug)
    witness = witnessed(factory, bug) if bug.witness else []
    return {**hunt(factory, bug.cell, seed, limit), "witness": witness}


def witness_of(name: str) -> tuple[str, list[str]]:
    return name, witnessed(opened(BANK[name]), BANK[name])


def all_witnesses() -> dict[str, list[str]]:
    """The laws that each witness breaks. One release a process, so one process for each."""
    import torch  # noqa: F401 - once, before the forks

    names = [name for name, bug in BANK.items() if bug.witness]
    with multiprocessing.get_context("fork").Pool(2, maxtasksperchild=1) as pool:
        return dict(pool.imap_unordered(witness_of, names))


def main(name: str, *rest: str) -> dict[str, Any]:
    if name == WITNESSES:
        return all_witnesses()
    seed, limit, *cell = rest
    return search(name, int(seed), int(limit), *cell)


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(*sys.argv[1:])) + "\n")
