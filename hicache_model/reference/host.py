"""Host memory: what goes when it is short."""

from __future__ import annotations

from hicache_model import operations as ops
from hicache_model.outcomes import Done, Outcome
from hicache_model.reference.derived import Derived


class HostEviction(Derived):
    """Frees host copies: first what is on the device too, where the dialect says so."""

    def _op_evict_host(self, op: ops.EvictHost) -> Outcome:
        (self if op.component == "full" else self.component).evict_host(op.count)
        return Done()

    def evict_host(self, count: int) -> None:
        """Free unpinned host leaves in policy order until ``count`` tokens are freed."""
        freed = self._reclaim_duplicates(count)
        for victim in self._in_order(self._host_order, self.host_leaves):
            if freed >= count:
                break
            if not victim.host_lock:
                self.remove(victim)
                freed += victim.length

    def _reclaim_duplicates(self, count: int) -> int:
        """Free host copies of what is on the device too, where that is the first resort.

        In the order in which they became duplicates, device leaves last. One that lost a copy keeps
        its place until a reclaim comes by it.
        """
        freed, passed = 0, []
        leaves = self.device_leaves()
        for spare_leaves in (True, False):
            for node in self.duplicates:
                if freed >= count:
                    break
                if not (node.on_device and node.on_host):
                    passed.append(node)
                elif not (
                    node.host_lock or self._is_busy(node) or (spare_leaves and node in leaves)
                ):
                    self._place(node, host=False)
                    freed += node.length
                    passed.append(node)
        for node in passed:
            self.duplicates.pop(node, None)
        return freed

    def _reclaimable_on_host(self) -> int:
        """Host tokens that an eviction can free: nothing at or below them is held."""
        return sum(
            node.length
            for node in self.tree.by_path.values()
            if node.evicted
            and not any(below.host_lock or below.lock_ref for below in self.tree.subtree(node))
        ) + sum(
            node.length
            for node in self.duplicates
            if node.on_device and node.on_host and not (node.transfer or node.host_lock)
        )
