"""What must be right after every change, and is kept by hand: leaf sets, sizes and locks.

Evictable device leaves are unlocked nodes on the device with no child there. Evictable host leaves
are unlocked nodes that are only on the host, with no child that is backed up. The evictable size is
the unlocked tokens on the device, the protected size the locked ones.

Whoever changes a node says so here at once: ``arrived`` on the device, ``demoted`` to the host,
``removed`` from the tree.
"""

from __future__ import annotations

from hicache_impl.native.tree import RadixTree, TreeNode


class Upkeep:
    """Sizes are tokens. The root is in no set and no size."""

    def __init__(self, tree: RadixTree) -> None:
        self.tree = tree
        self.clear()

    def clear(self) -> None:
        self.device_leaves: set[TreeNode] = set()
        self.host_leaves: set[TreeNode] = set()
        self.evictable_size = 0
        self.protected_size = 0

    # -- the sets ----------------------------------------------------------------------------------

    def refresh_device_leaf(self, node: TreeNode) -> None:
        """Put the node into the set of device leaves, or take it out."""
        if node.parent is not None and self.is_device_leaf(node):
            self.device_leaves.add(node)
        else:
            self.device_leaves.discard(node)

    def refresh_host_leaf(self, node: TreeNode) -> None:
        """Put the node into the set of host leaves, or take it out."""
        if self.is_host_leaf(node):
            self.host_leaves.add(node)
        else:
            self.host_leaves.discard(node)

    def is_device_leaf(self, node: TreeNode) -> bool:
        return not (node.evicted or node.lock_ref or self.has_child_on_device(node))

    def is_host_leaf(self, node: TreeNode) -> bool:
        return node.evicted and not (node.lock_ref or self.has_child_on_host(node))

    def has_child_on_device(self, node: TreeNode) -> bool:
        return any(not child.evicted for child in node.children.values())

    def has_child_on_host(self, node: TreeNode) -> bool:
        return any(child.backed_up for child in node.children.values())

    # -- what happens to a node --------------------------------------------------------------------

    def arrived(self, node: TreeNode) -> None:
        """It has device slots now: computed, computed again, or about to be loaded."""
        self.evictable_size += len(node.key)
        self.refresh_device_leaf(node)
        self.refresh_device_leaf(node.above)
        self.refresh_host_leaf(node)

    def demoted(self, node: TreeNode) -> None:
        """Its device slots are gone and its host copy is left."""
        self.evictable_size -= len(node.key)
        self.refresh_device_leaf(node)
        self.refresh_device_leaf(node.above)
        self.refresh_host_leaf(node)

    def removed(self, node: TreeNode) -> None:
        """It was a leaf, unlocked, and is no longer in the tree."""
        if node.device is not None:
            self.evictable_size -= len(node.key)
        self.device_leaves.discard(node)
        self.host_leaves.discard(node)
        self.refresh_device_leaf(node.above)
        self.refresh_host_leaf(node.above)

    # -- locks -------------------------------------------------------------------------------------

    def lock(self, node: TreeNode) -> int:
        """Keep the node and all above it on the device; how many tokens that newly protects."""
        before = self.protected_size
        while node.parent is not None:
            node.lock_ref += 1
            if node.lock_ref == 1:
                self.protect(node)
            node = node.parent
        return self.protected_size - before

    def unlock(self, node: TreeNode) -> None:
        """Undo one ``lock`` of the same node."""
        while node.parent is not None:
            node.lock_ref -= 1
            if node.lock_ref == 0:
                self.unprotect(node)
            node = node.parent

    def protect(self, node: TreeNode) -> None:
        self.evictable_size -= len(node.key)
        self.protected_size += len(node.key)
        self.device_leaves.discard(node)

    def unprotect(self, node: TreeNode) -> None:
        self.evictable_size += len(node.key)
        self.protected_size -= len(node.key)
        self.refresh_device_leaf(node)

    def pin(self, node: TreeNode) -> None:
        """Keep the node's host copy."""
        node.host_lock += 1

    def unpin(self, node: TreeNode) -> None:
        node.host_lock -= 1
