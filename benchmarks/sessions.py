"""Sessions to drive the sources of operations with: the real one, one that records, a blind one."""

from __future__ import annotations

import os
from typing import Any, NoReturn

import attrs

from hicache_impl.sglang.unified.target import UnifiedTarget
from hicache_impl.target import Target, TargetFactory
from hicache_model.configuration import Configuration
from hicache_model.operations import Operation
from hicache_model.reference import Reference
from hicache_verify.campaigns.cells import Cell
from hicache_verify.divergence import Divergence
from hicache_verify.lockstep import Lockstep
from hicache_verify.session import Session
from hicache_verify.targets import dialect_of
from hicache_verify.workers.journal import Journal, make_file
from hicache_verify.workers.messages import Leg


class Parted(Exception):
    """The cache under measurement parts from the model, so its timings would mean nothing."""


@attrs.frozen
class Example:
    """A cache and what was done to it."""

    configuration: Configuration
    operations: tuple[Operation, ...]


def new_journal() -> Journal:
    fd = make_file()
    try:
        return Journal(fd)
    finally:
        os.close(fd)


class Measured(Session):
    """A session as a campaign has it, with its journal. Raises Parted at a divergence."""

    def __init__(self, factory: TargetFactory, cell: Cell) -> None:
        self.journal = new_journal()
        leg = Leg(cell, "random", seed=0, examples=None, seconds=None)
        super().__init__(factory, self.journal, leg, send=_refuse, minimize=_refuse)


class Recording(Measured):
    """Keeps every example."""

    def __init__(self, factory: TargetFactory, cell: Cell) -> None:
        super().__init__(factory, cell)
        self.examples: list[Example] = []
        self._configuration = Configuration()
        self._operations: list[Operation] = []

    def start(self, configuration: Configuration) -> Lockstep:
        lockstep = super().start(configuration)
        self._configuration = configuration
        return lockstep

    def step(self, op: Operation) -> Divergence | None:
        self._operations.append(op)
        return super().step(op)

    def end(self) -> Divergence | None:
        if self._operations:
            self.examples.append(Example(self._configuration, tuple(self._operations)))
            self._operations = []
        return super().end()


class Blind:
    """In the place of a session: what a fuzzer without an oracle pays for the same operations.

    The menu asks a model what is legal, so a model goes along; nothing is observed or compared.
    """

    def __init__(self, factory: TargetFactory) -> None:
        self.factory = factory
        self.operations = 0

    def start(self, configuration: Configuration) -> Blind:
        self.model = Reference(configuration, dialect_of(self.factory.description))
        self.target = self.factory.build(configuration)
        return self

    def step(self, op: Operation) -> None:
        self.operations += 1
        perform(self.target, op)
        self.model.apply(op)
        self.model.take_stale()

    def stop(self) -> bool:
        return False

    def end(self) -> None:
        pass


def perform(target: Target, op: Operation) -> None:
    """Do it and observe nothing, but for what a driver cannot name its nodes without."""
    target.perform(op)
    if isinstance(target, UnifiedTarget):
        target.keep_up()


def _refuse(*what: Any) -> NoReturn:
    raise Parted(f"nothing is measured on a cache that parts from the model: {what[0]}")
