"""What follows from the facts, kept up to date from what changed: leaves, their order, and sizes.

``definitions`` says what each is; tests/model/test_reference.py holds what is kept here equal to it
in every state reached.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from hicache_model.configuration import Configuration
from hicache_model.definitions import HOST_LEAF, is_device_leaf
from hicache_model.dialects import Dialect
from hicache_model.order import LeafOrder
from hicache_model.policies import named
from hicache_model.reference.facts import CacheFacts
from hicache_model.snapshot import Path
from hicache_model.tree import TreeNode


class Derived(CacheFacts):
    """Ask it through its methods: they settle what changed first."""

    def __init__(self, configuration: Configuration, dialect: Dialect) -> None:
        self.policy = named(configuration.eviction_policy, configuration.page_size)
        self.is_host_leaf = HOST_LEAF[dialect.host_leaf]
        super().__init__(configuration, dialect)

    def _forget(self) -> None:
        super()._forget()
        self._device_leaves: set[TreeNode] = set()
        self._host_leaves: set[TreeNode] = set()
        self._counted: dict[TreeNode, tuple[int, int, int, int]] = {}
        self._totals = [0, 0, 0, 0]
        self._stale: set[TreeNode] = set()
        self._device_order, self._host_order = LeafOrder(self.policy), LeafOrder(self.policy)

    def settle(self) -> None:
        """Bring the derived forms up to date with what changed."""
        tree = self.tree
        if not tree.changed:
            return
        looked_at = tree.changed.copy()
        for node in tree.changed:
            self._recount(node)
            if node.parent is not None:
                looked_at.add(node.parent)
        looked_at.discard(tree.root)
        tree.changed.clear()
        for node in looked_at:
            children = node.children.values()
            _keep(self._device_leaves, node, is_device_leaf(node, children))
            _keep(self._host_leaves, node, self.is_host_leaf(node, children))
        self._stale |= looked_at
        tree.touched |= looked_at

    def _recount(self, node: TreeNode) -> None:
        free = node.lock_ref == 0
        now = (
            node.length if node.on_device and free else 0,
            0 if free else node.length,
            node.length if node.on_device else 0,
            node.length if node.on_host else 0,
        )
        before = self._counted.get(node, (0, 0, 0, 0))
        if now != before:
            self._counted[node] = now
            for i in range(4):
                self._totals[i] += now[i] - before[i]

    def remove(self, node: TreeNode) -> None:
        """Take a node, and what hangs below it, out of the tree and of everything kept."""
        for gone in self.tree.subtree(node):
            for i, tokens in enumerate(self._counted.pop(gone, (0, 0, 0, 0))):
                self._totals[i] -= tokens
            self._device_leaves.discard(gone)
            self._host_leaves.discard(gone)
            self._stale.discard(gone)
            self._device_order.changed.discard(gone)
            self._host_order.changed.discard(gone)
            self.duplicates.pop(gone, None)
        self.tree.remove(node)

    def take_stale(self) -> tuple[set[TreeNode], set[Path]]:
        """Nodes whose view may have changed, and paths that left the tree, since the last call."""
        self.settle()
        stale, self._stale = self._stale, set()
        removed, self.tree.removed = self.tree.removed, set()
        return stale, removed

    # -- leaves ------------------------------------------------------------------------------------

    def device_leaves(self) -> set[TreeNode]:
        if self.tree.changed:
            self.settle()
        return self._device_leaves

    def host_leaves(self) -> set[TreeNode]:
        if self.tree.changed:
            self.settle()
        return self._host_leaves

    def _in_order(
        self, order: LeafOrder, leaves: Callable[[], set[TreeNode]]
    ) -> Iterator[TreeNode]:
        """The leaves, least key first, and a parent in its turn once it has become one.

        Nothing that an eviction does changes a key.
        """
        self.settle()
        for kept in (self._device_order, self._host_order):
            kept.changed |= self.tree.touched
        self.tree.touched.clear()
        order.begin(leaves())
        while (victim := order.next(leaves())) is not None:
            parent = victim.parent
            yield victim
            if parent in leaves():
                assert parent is not None
                order.add(parent)

    # -- sizes, in tokens --------------------------------------------------------------------------

    def sizes(self) -> tuple[int, int]:
        """Evictable and protected size, in tokens."""
        self.settle()
        return self._totals[0], self._totals[1]

    def _on_device(self) -> int:
        """Tokens that the tree has on the device."""
        self.settle()
        return self._totals[2]

    def device_free(self) -> int:
        """Free device tokens: what neither a node nor a request's own row holds, in whole pages."""
        if self.tree.changed:
            self.settle()
        free = self.configuration.device_slots - self._totals[2]
        for running in self.requests.values():
            free -= self.pages(running.computed) - running.protected
        return free

    def allocatable(self) -> int:
        """Device tokens for which every pool has room."""
        beside = self.component.tokens_of_room()
        return self.device_free() if beside is None else min(self.device_free(), beside)

    def host_free(self) -> int:
        if self.tree.changed:
            self.settle()
        waiting = sum(self.pages(running.computed) for running in self.retracted.values())
        return self.configuration.host_slots - self._totals[3] - waiting

    def totals(self) -> tuple[int, int, int, int, int, int]:
        """Evictable and protected size, leaves on the device and the host, free in each, tokens."""
        free = self.device_free(), self.host_free()
        leaves = len(self._device_leaves), len(self._host_leaves)
        return (self._totals[0], self._totals[1], *leaves, *free)


def _keep(members: set[TreeNode], node: TreeNode, belongs: bool) -> None:
    if belongs:
        members.add(node)
    else:
        members.discard(node)
