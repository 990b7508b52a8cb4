"""Locks on the device and pins on the host that an operation takes and gives back."""

from __future__ import annotations

from hicache_model import operations as ops
from hicache_model.components.facts import LOCK, PIN
from hicache_model.outcomes import Done, Outcome
from hicache_model.reference.lookup import Lookup
from hicache_model.tree import TreeNode


class Locks(Lookup):
    """A lock is taken at the end of a lookup, and named by where it was taken when given back."""

    def _op_lock(self, op: ops.Lock) -> Outcome:
        node = self._find(self.tree.whole_pages(op.namespace, op.tokens)).on_device
        if node is not self.tree.root:
            self.locks.append(node)
            self.hold(node, LOCK)
        return Done()

    def _op_unlock(self, op: ops.Unlock) -> Outcome:
        node = self._named(op)
        self.locks.remove(node)
        self.let_go(node, LOCK)
        return Done()

    def _op_lock_host(self, op: ops.LockHost) -> Outcome:
        node = self._find(self.tree.whole_pages(op.namespace, op.tokens)).node
        while not node.on_host:
            assert node.parent is not None
            node = node.parent
        if node is not self.tree.root:
            self.host_locks.append(self._take_pin(node))
            self.component.pin(node, PIN)
        return Done()

    def _op_unlock_host(self, op: ops.UnlockHost) -> Outcome:
        node = self._named(op)
        pin = next(pin for pin in self.host_locks if pin.node is node)
        self.host_locks.remove(pin)
        self._pin(self.covered(pin), -1)
        self.component.unpin(node, PIN)
        return Done()

    def _named(self, op: ops.Unlock | ops.UnlockHost) -> TreeNode:
        node = self.tree.named(op.namespace, op.tokens)
        assert node is not None
        return node

    def pinned_nodes(self) -> list[TreeNode]:
        """The nodes that LockHost pinned, with repetition."""
        return [pin.node for pin in self.host_locks]

    def stuck(self) -> set[TreeNode]:
        """The nodes that cannot leave the device because something below them is pinned.

        Under write_back these are nodes without a host copy, and what is above them.
        """
        found: set[TreeNode] = set()
        for pin in self.host_locks if self.write_back else ():
            node: TreeNode | None = pin.node
            above = False
            while node is not None and node is not self.tree.root:
                above = above or (node.on_device and not node.on_host)
                if above:
                    found.add(node)
                node = node.parent
        return found
