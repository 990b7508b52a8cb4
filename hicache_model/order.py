"""The leaves of one tier in the order in which a policy evicts them, kept between evictions.

The order is defined by the policy alone: least key first, and keys of leaves never tie. To sort all
leaves at every eviction would cost more than what it evicts, so a heap is kept, in which entries
may be out of date: whatever may have changed is pushed again, and what no longer holds is passed
over. Entries out of date may tie, so each has a number.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from itertools import count

from hicache_model.policies import Policy
from hicache_model.tree import TreeNode


class LeafOrder:
    """``leaves`` are always those of the moment; put what may have changed into ``changed``."""

    def __init__(self, policy: Policy) -> None:
        self.changed: set[TreeNode] = set()
        self._policy = policy
        self._heap: list[tuple[tuple[int, ...], int, TreeNode]] = []
        self._number = count()
        self._last: TreeNode | None = None

    def begin(self, leaves: set[TreeNode]) -> None:
        """Take in what changed since the last eviction; all anew where that is no more work."""
        if len(self._heap) + len(self.changed) > 2 * len(leaves):
            self._heap = [self._entry(node) for node in leaves]
            heapify(self._heap)
        else:
            for node in self.changed & leaves:
                heappush(self._heap, self._entry(node))
        self.changed.clear()
        self._last = None

    def add(self, node: TreeNode) -> None:
        """A node has become a leaf in the course of an eviction."""
        heappush(self._heap, self._entry(node))

    def next(self, leaves: set[TreeNode]) -> TreeNode | None:
        """The first leaf that this eviction has not met yet; None after the last."""
        while self._heap:
            key, _, node = heappop(self._heap)
            if node in leaves and node is not self._last and key == self._policy(node):
                self._last = node
                self.changed.add(node)  # it may stay a leaf
                return node
        return None

    def _entry(self, node: TreeNode) -> tuple[tuple[int, ...], int, TreeNode]:
        return self._policy(node), next(self._number), node
