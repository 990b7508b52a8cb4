"""How the cost of one step grows with the tree, for the cache alone and in lockstep.

The tree is a forest of equal groups, so that a step changes as much in a large tree as in a small
one: what grows besides is what the cache, the model or the comparison does with all nodes at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from random import Random
from statistics import fmean

import attrs

from benchmarks.sessions import Example, Parted
from benchmarks.tables import Column, Table, name_of
from hicache_impl.target import Target, TargetFactory
from hicache_model import operations as ops
from hicache_model import rules
from hicache_model.configuration import Configuration
from hicache_model.dialects import Dialect
from hicache_model.reference import Reference
from hicache_verify.lockstep import LAW_INTERVAL, Lockstep
from hicache_verify.targets import dialect_of

SIZES = (10, 100, 1_000, 10_000)
EDGE = 4
BRANCHES, LEAVES = 3, 2
GROUP = 1 + BRANCHES + BRANCHES * LEAVES
LEAST_STEPS, FILLING = 512, 20

COLUMNS = (
    Column("nodes", "nodes", "{:,}"),
    Column("changed", "changed by a step", "{:.1f}"),
    Column("target", "target alone, µs", "{:,.0f}"),
    Column("lockstep", "lockstep, µs", "{:,.0f}"),
    Column("quick", "of it, but for full comparisons", "{:,.0f}"),
    Column("full", "of it, full comparisons", "{:,.0f}"),
    Column("full_each", "one full comparison, ms", "{:,.1f}"),
    Column("ratio", "times target alone", "{:.2f}"),
)

NOTES = (
    "CPU microseconds for one step on a tree held at its size: match, insert, evict, load back.",
    "A tree of more than 32 nodes is compared in full at intervals in proportion to its size.",
)


class Forest:
    """Makes operations that fill a tree to ``nodes`` nodes and then keep it at that size."""

    def __init__(self, nodes: int, write_policy: str, dialect: Dialect, seed: int = 0) -> None:
        self.nodes = nodes
        # Where a first use makes no host copy, what the device evicts leaves the tree.
        on_device = nodes if write_policy == "write_through_selective" else nodes // 2
        self.configuration = Configuration(
            write_policy=write_policy,
            device_slots=EDGE * (on_device + GROUP),
            host_slots=EDGE * (nodes + 2 * GROUP),
            requests=1,
        )
        self.model = Reference(self.configuration, dialect)
        self.changed: list[int] = []
        self._random = Random(seed)
        self._groups = max(1, nodes // GROUP)
        self._leaves: list[ops.Insert] = []
        self._serial = 0

    def fill(self) -> Example:
        """Operations until the tree has its size."""
        done: list[ops.Operation] = []
        for _ in range(FILLING * self.nodes):
            if len(self.model.tree.by_path) >= self.nodes:
                self.changed.clear()
                return Example(self.configuration, tuple(done))
            done.append(self._apply(self._room() or self._insert()))
        raise AssertionError(f"the tree never reached {self.nodes} nodes")

    def steps(self, count: int) -> Example:
        """``count`` operations of a steady mix."""
        done = [self._apply(self._upkeep() or self._room() or self._use()) for _ in range(count)]
        return Example(self.configuration, tuple(done))

    def _apply(self, operation: ops.Operation) -> ops.Operation:
        refusal = rules.refusal(self.model, operation)
        assert refusal is None, refusal
        self.model.apply(operation)
        stale, gone = self.model.take_stale()
        self.changed.append(len(stale) + len(gone))
        return operation

    def _upkeep(self) -> ops.Operation | None:
        """What has to be ended first: transfers, and growth of the tree."""
        model = self.model
        if model.queued_writes:
            return ops.StartWrites()
        if model.queued_loads:
            return ops.StartLoads()
        if model.started_loads:
            return ops.CompleteLoads(1)
        if len(model.tree.by_path) > self.nodes and model.host_leaves():
            return ops.EvictHost(EDGE)
        return None

    def _room(self) -> ops.Operation | None:
        """Room for an insert; a write in flight holds what it writes."""
        if self.model.writes:
            return ops.CompleteWrites(len(self.model.writes))
        short = self.model.device_free() < 3 * EDGE
        return ops.EvictDevice(3 * EDGE) if short else None

    def _use(self) -> ops.Operation:
        chance = self._random.random()
        if chance < 0.2:
            return self._insert()
        leaf = self._random.choice(self._leaves)
        return ops.Match(leaf.tokens) if chance < 0.6 else ops.LoadBack(leaf.tokens)

    def _insert(self) -> ops.Insert:
        """A new leaf, in the place of an old one when there are as many as there should be."""
        self._serial += 1
        where = self._random.randrange(self._groups), self._random.randrange(BRANCHES)
        tokens = tuple(token for token in (*where, self._serial) for _ in range(EDGE))
        leaf = ops.Insert(tokens)
        if len(self._leaves) < self.nodes:
            self._leaves.append(leaf)
        else:
            self._leaves[self._random.randrange(len(self._leaves))] = leaf
        return leaf


@attrs.frozen
class Costs:
    """CPU microseconds of each step; a full comparison was part of the steps in ``full``."""

    target: list[float]
    lockstep: list[float]
    full: frozenset[int]
    changed: float

    def row(self, nodes: int) -> tuple[int | float | None, ...]:
        quick = [cost for step, cost in enumerate(self.lockstep) if step not in self.full]
        plain, target, whole = fmean(quick), fmean(self.target), fmean(self.lockstep)
        each = fmean(self.lockstep[step] for step in self.full) - plain if self.full else None
        share = whole - plain
        each_ms = None if each is None else each / 1000
        return (nodes, self.changed, target, whole, plain, share, each_ms, whole / target)


def table(
    factory: TargetFactory, sizes: tuple[int, ...], write_policy: str, say: Callable[[str], None]
) -> Table:
    rows = []
    for nodes in sizes:
        say(f"a tree of {nodes:,} nodes")
        rows.append(measure(factory, nodes, write_policy).row(nodes))
    title = f"Growth: {name_of(factory)}, {write_policy}"
    return Table(title, COLUMNS, tuple(rows), NOTES)


def measure(factory: TargetFactory, nodes: int, write_policy: str) -> Costs:
    """Both sides in turn, some steps each."""
    forest = Forest(nodes, write_policy, dialect_of(factory.description))
    fill = forest.fill()
    steps = forest.steps(number_of_steps(nodes)).operations
    target, lockstep = _filled(factory, fill)
    alone: list[float] = []
    beside: list[float] = []
    full: set[int] = set()
    part = max(1, len(steps) // 8)
    for start in range(0, len(steps), part):
        now = steps[start : start + part]
        alone += [_timed(target.perform, operation) for operation in now]
        for step, operation in enumerate(now, start):
            beside.append(_timed(lockstep.step, operation))
            if lockstep.since_laws == 0:
                full.add(step)
    return Costs(alone, beside, frozenset(full), fmean(forest.changed))


def number_of_steps(nodes: int) -> int:
    """Whole intervals between full comparisons, so that each counts as often as it happens."""
    interval = max(LAW_INTERVAL, nodes // 4)
    return interval * max(2, LEAST_STEPS // interval)


def _filled(factory: TargetFactory, fill: Example) -> tuple[Target, Lockstep]:
    target = factory.build(fill.configuration)
    lockstep = Lockstep(factory, fill.configuration, exact=False)
    for operation in fill.operations:
        target.perform(operation)
        _agrees(lockstep.step(operation))
    lockstep.since_laws = 0
    return target, lockstep


def _timed(act: Callable[[ops.Operation], object], operation: ops.Operation) -> float:
    started = time.process_time_ns()
    found = act(operation)
    spent = time.process_time_ns() - started
    _agrees(found)
    return spent / 1000


def _agrees(found: object) -> None:
    from hicache_verify.divergence import Divergence

    if isinstance(found, Divergence):
        raise Parted(f"the cache parts from the model: {found.message}")
