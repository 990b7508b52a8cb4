"""Planted bugs in which nodes are evicted, and how many."""

from __future__ import annotations

from hicache_impl.bugs.bug import ANY_WRITE_POLICY, Bug
from hicache_impl.native.eviction import DeviceEviction, HostEviction
from hicache_impl.native.parts import Kinds
from hicache_impl.native.tree import RadixTree, Tokens, TreeNode
from hicache_impl.native.writing import WriteThrough


class CountsNothing(HostEviction):
    def evict(self, count: int) -> int:
        return super().evict(self.parts.settings.host_slots)


class ReportsNothing(DeviceEviction):
    def evict(self, count: int) -> int:
        super().evict(count)
        return 0


class HitsStandStill(WriteThrough):
    def count_hit(self, node: TreeNode, chunked: bool) -> None:
        super().count_hit(node, chunked)
        node.hit_count = min(node.hit_count, self.parts.settings.hits_before_backup)


class NewLeavesWait(WriteThrough):
    def is_due(self, node: TreeNode) -> bool:
        is_new = node.creation == node.last_access and not node.children
        return not is_new and super().is_due(node)


class StaysOld(RadixTree):
    def visit(self, child: TreeNode, tokens: Tokens, depth: int) -> TreeNode:
        is_whole = self.shared_length(child.key, tokens, depth) == len(child.key)
        return child if is_whole else super().visit(child, tokens, depth)


ORDERING = (
    Bug(
        identifier="host-eviction-never-counts",
        sentence="An eviction from the host does not count what it frees, and takes everything.",
        imitates="SGLang #4987, #4989",
        law="transition",
        write_policies=ANY_WRITE_POLICY,
        length=4,
        kinds=Kinds(host_eviction=CountsNothing),
    ),
    Bug(
        identifier="eviction-reports-nothing",
        sentence="An eviction from the device frees what it should, and reports nothing.",
        imitates="SGLang #4987",
        law="progress",
        write_policies=ANY_WRITE_POLICY,
        length=2,
        quick=True,
        kinds=Kinds(device_eviction=ReportsNothing),
    ),
    Bug(
        identifier="hits-stand-still",
        sentence="Hits are not counted beyond those that a copy to the host needs.",
        imitates="SGLang #18843",
        law="policy-order",
        write_policies=("write_through", "write_through_selective"),
        eviction_policy="lfu",
        length=2,
        kinds=Kinds(write_through=HitsStandStill),
    ),
    Bug(
        identifier="new-leaf-is-not-backed-up",
        sentence="A new leaf is not copied to the host before it is used again.",
        imitates="SGLang #39444, #33714",
        law="promised-backup",
        write_policies=("write_through",),
        length=1,
        quick=True,
        kinds=Kinds(write_through=NewLeavesWait),
    ),
    Bug(
        identifier="lookup-does-not-refresh",
        sentence="A node that is met again stays as old as it was.",
        imitates="SGLang #18843",
        law="policy-order",
        write_policies=ANY_WRITE_POLICY,
        length=2,
        quick=True,
        kinds=Kinds(tree=StaysOld),
    ),
)
