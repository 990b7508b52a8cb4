"""Reach: what a run has visited, counted, so that what is never visited is noticed.

The counts are of the model's states; goals are situations in which upkeep is known to go wrong.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping

import attrs

from hicache_model import operations as ops
from hicache_model.reference import Reference
from hicache_model.states import NodeState, state_of
from hicache_model.tree import TreeNode


def _any(test: Callable[[TreeNode], bool]) -> Callable[[Reference], bool]:
    return lambda model: any(test(node) for node in model.tree.by_path.values())


def _has_child(node: TreeNode, test: Callable[[TreeNode], bool]) -> bool:
    return any(test(child) for child in node.children.values())


GOALS: Mapping[str, Callable[[Reference], bool]] = {
    "an evicted parent of an evicted child": _any(
        lambda n: not n.on_device and _has_child(n, lambda c: not c.on_device)
    ),
    "a backed-up parent on the GPU of an evicted child": _any(
        lambda n: n.on_device and n.on_host and _has_child(n, lambda c: not c.on_device)
    ),
    "a parent without host copy above a backed-up child": _any(
        lambda n: not n.on_host and _has_child(n, lambda c: c.on_host)
    ),
    "a node locked twice": _any(lambda n: n.lock_ref >= 2),
    "a split node with a transfer in flight": _any(
        lambda n: n.transfer is not None and _has_child(n, lambda c: c.transfer == n.transfer)
    ),
    "two loads in flight at once": lambda model: len(model.started_loads) >= 2,
    "a load queued behind one in flight": lambda model: bool(
        model.started_loads and model.queued_loads
    ),
    "two requests that share a locked prefix": _any(
        lambda n: n.lock_ref >= 2 and sum(1 for c in n.children.values() if c.lock_ref) >= 2
    ),
    "a full host": lambda model: model.host_free() < model.page_size,
    "a full device": lambda model: model.device_free() < model.page_size,
    "a pinned host copy below a node on the GPU": _any(
        lambda n: n.on_device and _has_child(n, lambda c: c.host_lock > 0)
    ),
    "two namespaces": lambda model: len({path.namespace for path in model.tree.by_path}) >= 2,
}


@attrs.define(slots=True)
class Reach:
    """Counts of operations, node states and goals."""

    operations: Counter[str] = attrs.field(factory=Counter)
    states: Counter[NodeState] = attrs.field(factory=Counter)
    goals: Counter[str] = attrs.field(factory=Counter)

    def note(self, operation: ops.Operation, model: Reference) -> Iterator[str]:
        """Count the state after ``operation``; yields the goals that it reaches."""
        self.operations[ops.codec.names[type(operation)]] += 1
        for node in model.tree.by_path.values():
            self.states[state_of(node)] += 1
        reached = [goal for goal, test in GOALS.items() if test(model)]
        self.goals.update(reached)
        yield from reached
