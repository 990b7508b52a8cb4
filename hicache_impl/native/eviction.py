"""Which nodes go when a tier is full: leaves, in the order of the policy."""

from __future__ import annotations

from collections.abc import Iterable
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING

from hicache_impl.native.tree import TreeNode
from hicache_model.policies import Policy

if TYPE_CHECKING:
    from hicache_impl.native.parts import Parts
    from hicache_impl.native.writing import Writer


class Victims:
    """Candidates; ``next`` gives the policy's first choice. Of two equal ones the older goes."""

    def __init__(self, policy: Policy, nodes: Iterable[TreeNode]) -> None:
        self.policy = policy
        self._heap = [(policy(node), node.creation, node) for node in nodes]
        heapify(self._heap)

    def __bool__(self) -> bool:
        return bool(self._heap)

    def add(self, node: TreeNode) -> None:
        heappush(self._heap, (self.policy(node), node.creation, node))

    def next(self) -> TreeNode:
        return heappop(self._heap)[2]


class HostEviction:
    """Frees host memory: host leaves that nobody pins leave the tree."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts

    def evict(self, count: int) -> int:
        """Free at least ``count`` tokens, or all that may go; how many it were."""
        victims = Victims(self.parts.policy, filter(self.may_go, self.parts.upkeep.host_leaves))
        freed = 0
        while freed < count and victims:
            victim = victims.next()
            self.remove(victim)
            freed += len(victim.key)
            if self.may_go(victim.above):
                victims.add(victim.above)
        return freed

    def may_go(self, node: TreeNode) -> bool:
        return node in self.parts.upkeep.host_leaves and not node.host_lock

    def remove(self, leaf: TreeNode) -> None:
        """Take a leaf out of the tree and free its slots in both tiers."""
        parts = self.parts
        parts.tree.unlink(leaf)
        if leaf.device is not None:
            parts.device_pool.free(leaf.device)
        if leaf.host is not None:
            parts.host_pool.free(leaf.host)
        parts.upkeep.removed(leaf)


class DeviceEviction:
    """Frees device memory: a device leaf keeps its host copy, or leaves the tree without one."""

    def __init__(self, parts: Parts, host: HostEviction, writer: Writer) -> None:
        self.parts, self.host, self.writer = parts, host, writer

    def evict(self, count: int) -> int:
        """Free at least ``count`` tokens, or all that may go; how many it were."""
        victims = Victims(self.parts.policy, self.parts.upkeep.device_leaves)
        freed = 0
        while freed < count and victims:
            victim = victims.next()
            freed += self.take(victim)
            if self.may_follow(victim.above):
                victims.add(victim.above)
        self.flush()
        return freed

    def may_follow(self, node: TreeNode) -> bool:
        """Whether a parent is a leaf once those have gone that wait for their copies."""
        if node.parent is None or node.lock_ref or node.evicted:
            return False
        staged = self.writer.staged
        return all(child.evicted or child in staged for child in node.children.values())

    def take(self, victim: TreeNode) -> int:
        """Free one leaf; how many tokens, 0 where a pinned host copy is in the way."""
        if victim.backed_up:
            return self.demote(victim)
        if self.writer.stage(victim):
            return len(victim.key)
        self.flush()
        return self.drop(victim)

    def flush(self) -> None:
        """Wait for the copies of victims, which then leave the device."""
        for node in self.writer.finish_staged():
            self.demote(node)

    def demote(self, victim: TreeNode) -> int:
        """Only the host copy is left."""
        assert victim.device is not None
        self.parts.device_pool.free(victim.device)
        victim.device = None
        self.parts.upkeep.demoted(victim)
        return len(victim.key)

    def drop(self, victim: TreeNode) -> int:
        """Forget a node and the host copies below it, unless one of them is pinned."""
        nodes = self.parts.tree.subtree(victim)
        if any(node.host_lock for node in nodes):
            return 0
        for node in reversed(nodes):
            self.host.remove(node)
        return len(victim.key)
