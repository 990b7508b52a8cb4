"""Planted bugs in who holds what: locks, pins, and the counts of both."""

from __future__ import annotations

from hicache_impl.bugs.bug import ANY_WRITE_POLICY, Bug
from hicache_impl.native.cache import HierarchicalCache
from hicache_impl.native.eviction import HostEviction
from hicache_impl.native.loading import Loads
from hicache_impl.native.parts import Kinds
from hicache_impl.native.pools import Slots
from hicache_impl.native.tree import RadixTree, TreeNode
from hicache_impl.native.upkeep import Upkeep


class UnlockedUpperHalf(RadixTree):
    def inherit(self, upper: TreeNode, lower: TreeNode) -> None:
        super().inherit(upper, lower)
        upper.lock_ref = 0


class StaysCounted(Upkeep):
    def demoted(self, node: TreeNode) -> None:
        super().demoted(node)
        self.evictable_size += len(node.key)


class PinIsAFlag(Upkeep):
    def pin(self, node: TreeNode) -> None:
        node.host_lock = 1

    def unpin(self, node: TreeNode) -> None:
        node.host_lock = 0


class UnpinsTwice(Loads):
    def guarded_room(self, chain: list[TreeNode], quota: int | None) -> Slots | None:
        slots = super().guarded_room(chain, quota)
        if slots is None:
            self.parts.upkeep.unpin(chain[-1])
        return slots


class TakesPinned(HostEviction):
    def may_go(self, node: TreeNode) -> bool:
        return node in self.parts.upkeep.host_leaves


class EvictsPinned(HierarchicalCache):
    def evict_host(self, count: int) -> int:
        return TakesPinned(self.parts).evict(count)


LOCKS = (
    Bug(
        identifier="split-forgets-locks",
        sentence="A split leaves the upper half of a locked node unlocked.",
        imitates="SGLang #24972",
        law="sizes",
        write_policies=ANY_WRITE_POLICY,
        length=2,
        quick=True,
        kinds=Kinds(tree=UnlockedUpperHalf),
    ),
    Bug(
        identifier="demoted-tokens-stay-counted",
        sentence="Tokens that left the device still count as evictable there.",
        imitates="TensorRT-LLM #11879, #12834",
        law="sizes",
        write_policies=ANY_WRITE_POLICY,
        length=2,
        quick=True,
        kinds=Kinds(upkeep=StaysCounted),
    ),
    Bug(
        identifier="pin-is-a-flag",
        sentence="A host copy that two pin is free when one of them lets go.",
        imitates="Mooncake #1853, SGLang #34975",
        law="lock-balance",
        write_policies=ANY_WRITE_POLICY,
        length=4,
        kinds=Kinds(upkeep=PinIsAFlag),
    ),
    Bug(
        identifier="refused-load-unpins-twice",
        sentence="A load back that is refused releases its pin of the host copy twice.",
        imitates="LMCache #2954, #3004",
        law="lock-balance",
        write_policies=ANY_WRITE_POLICY,
        length=3,
        kinds=Kinds(loads=UnpinsTwice),
    ),
    Bug(
        identifier="host-eviction-takes-pinned",
        sentence="An eviction from the host takes copies that are pinned.",
        imitates="LMCache #3187, #3189",
        law="locked-stays",
        write_policies=ANY_WRITE_POLICY,
        length=4,
        cache=EvictsPinned,
    ),
)
