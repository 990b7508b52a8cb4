"""Device memory: what goes when it is short, and what is kept of it on the host."""

from __future__ import annotations

from hicache_model import operations as ops
from hicache_model.outcomes import Evicted, Outcome
from hicache_model.reference.writes import Writes
from hicache_model.tree import TreeNode


class DeviceEviction(Writes):
    """Frees device leaves; under write_back each is copied to the host first."""

    def _op_evict_device(self, op: ops.EvictDevice) -> Outcome:
        of_component = self.component.on_device()
        if op.component == "full":
            freed = self.evict_device(op.count)
        else:
            full = self._on_device()
            self.component.evict_device(op.count)
            freed = full - self._on_device()
        self.wait_for_writes()
        return Evicted(freed, of_component - self.component.on_device())

    def evict_device(self, count: int) -> int:
        """Free device leaves in policy order until ``count`` tokens are free; returns the freed."""
        freed = 0
        staged: list[TreeNode] = []  # written back by this eviction: pinned until their copies end
        for victim in self._in_order(self._device_order, self.device_leaves):
            freed += self._evict_leaf(victim, staged)
            if freed >= count:
                break
        self._pin(staged, -1)
        if freed < count and self.wait_for_writes():
            freed += self.evict_device(count - freed)
        return freed

    def evict_leaf(self, victim: TreeNode) -> None:
        """Free one device leaf."""
        self._evict_leaf(victim, [])

    def _evict_leaf(self, victim: TreeNode, staged: list[TreeNode]) -> int:
        """The device tokens that are free without ``victim``, which may also have to stay."""
        if self._demote(victim, staged):
            return victim.length
        if self.write_back and self.dialect.victim_without_host_room != "drop":
            return 0
        self._pin(staged, -1)
        staged.clear()
        return self._drop(victim)

    def _demote(self, victim: TreeNode, staged: list[TreeNode]) -> bool:
        """Keep only the host copy, under write_back making one first; False if there is none."""
        if not victim.on_host:
            if not self.write_back or not self._make_host_copy(victim, waits=True):
                return False
            if self.dialect.write_back_waits == "at_the_end":
                self._pin([victim], 1)
                staged.append(victim)
            self.wait_for_writes()
            self._note_duplicate(victim)
        self._place(victim, device=False)
        return True

    def _drop(self, victim: TreeNode) -> int:
        """Forget a node and what hangs below it; nothing happens where a host copy is pinned."""
        nodes = self.tree.subtree(victim)
        if any(node.host_lock for node in nodes):
            return 0
        self.remove(victim)
        return sum(node.length for node in nodes if node.on_device)
