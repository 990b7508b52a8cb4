"""One operation as goals see it: the facts before, the model after, and what changed between."""

from __future__ import annotations

from typing import NamedTuple

from hicache_model.definitions import is_on_path
from hicache_model.notes import Running
from hicache_model.operations import Operation, Reset
from hicache_model.outcomes import Outcome
from hicache_model.reference import Reference
from hicache_model.snapshot import Path
from hicache_model.tree import TreeNode

LOADING = ("queued load", "load")


class Facts(NamedTuple):
    """What a node was before the operation."""

    on_device: bool
    on_host: bool
    lock_ref: int
    host_lock: int
    transfer: str | None
    length: int
    priority: int
    hit_count: int
    last_access: int


class Asked(NamedTuple):
    """What a request was before the operation."""

    computed: int
    protected: int
    prefilling: bool
    anchor: TreeNode | None
    tokens: tuple[int, ...]
    namespace: str | None
    asked_length: int


class Before(NamedTuple):
    """The facts before an operation. Nodes are known by identity: a split only shortens one."""

    nodes: dict[TreeNode, Facts]
    requests: dict[int, Asked]
    writes: tuple[TreeNode, ...]
    queued_writes: frozenset[TreeNode]
    queued_loads: int
    started_loads: int

    @classmethod
    def of(cls, model: Reference) -> Before:
        return cls(
            {node: _facts(node) for node in model.tree.by_path.values()},
            {number: _asked(running) for number, running in model.requests.items()},
            tuple(model.unfinished_writes()),
            frozenset(model.queued_writes),
            len(model.queued_loads),
            len(model.started_loads),
        )


def _facts(node: TreeNode) -> Facts:
    return Facts(
        node.on_device,
        node.on_host,
        node.lock_ref,
        node.host_lock,
        node.transfer,
        node.length,
        node.priority,
        node.hit_count,
        node.last_access,
    )


def _asked(running: Running) -> Asked:
    return Asked(
        running.computed,
        running.protected,
        running.prefilling,
        running.anchor,
        running.tokens,
        running.namespace,
        running.asked_length,
    )


class Moment:
    """``outcome`` is what the model predicted.

    ``changed`` are the nodes that differ in anything from before, ``gone`` those that left the
    tree, each with what it was; ``new`` those that were not there. Of these, ``demoted`` lost their
    device copy, ``dropped`` were evicted without a host copy, ``forgotten`` from the host,
    ``split`` were cut (they are the lower halves), ``loaded`` got a load, ``revived`` were evicted
    and computed anew; ``added`` are new and not cut from what was there.
    """

    def __init__(
        self, operation: Operation, outcome: Outcome, before: Before, model: Reference
    ) -> None:
        self.operation = operation
        self.outcome = outcome
        self.before = before
        self.model = model
        self.after = Before.of(model)
        self.changed: list[tuple[TreeNode, Facts]] = []
        self.gone: list[tuple[TreeNode, Facts]] = []
        now = self.after.nodes
        for node, old in before.nodes.items():
            facts = now.get(node)
            if facts is None:
                self.gone.append((node, old))
            elif facts != old:
                self.changed.append((node, old))
        self.new = [node for node in now if node not in before.nodes]
        self.added = [node for node in self.new if not self._is_cut(node)] if self.new else []
        self.demoted = [(n, old) for n, old in self.changed if old.on_device and not n.on_device]
        left = () if isinstance(operation, Reset) else self.gone
        self.dropped = [(n, old) for n, old in left if old.on_device and not old.on_host]
        self.forgotten = [(n, old) for n, old in left if not old.on_device]
        self.split = [(n, old) for n, old in self.changed if n.length < old.length]
        self.loaded = [
            n for n, old in self.changed if not old.on_device and n.on_device and n.transfer
        ]
        self.revived = [
            n for n, old in self.changed if not old.on_device and n.on_device and not n.transfer
        ]

    def _is_cut(self, node: TreeNode) -> bool:
        """A new node with an old one below it was cut from that."""
        return any(
            child in self.before.nodes or self._is_cut(child) for child in node.children.values()
        )

    @property
    def evicted_from_device(self) -> bool:
        return bool(self.demoted or self.dropped)

    @property
    def hit(self) -> list[TreeNode]:
        """Nodes of before whose uses went up."""
        return [node for node, old in self.changed if node.hit_count > old.hit_count]


def there_before(moment: Moment, path: Path, beyond: int = 0) -> bool:
    """Whether a node that was on the device ends on ``path`` after more than ``beyond`` tokens."""
    return any(
        old.on_device and len(node.path.tokens) > beyond and is_on_path(node.path, path)
        for node, old in moment.before.nodes.items()
    )
