"""Planted bugs in the upkeep of the two leaf sets."""

from __future__ import annotations

from hicache_impl.bugs.bug import ANY_WRITE_POLICY, WRITE_BACK, Bug
from hicache_impl.native.parts import Kinds
from hicache_impl.native.tree import TreeNode
from hicache_impl.native.upkeep import Upkeep


class AsksEvicted(Upkeep):
    def has_child_on_host(self, node: TreeNode) -> bool:
        return any(child.evicted for child in node.children.values())


class ForgetsUnlocked(Upkeep):
    def unprotect(self, node: TreeNode) -> None:
        self.evictable_size += len(node.key)
        self.protected_size -= len(node.key)


LEAF_SETS = (
    Bug(
        identifier="host-leaf-asks-evicted",
        sentence="A host leaf is asked for an evicted child, and not for one that is backed up.",
        imitates="SGLang #19212, fixed in #23537",
        law="host-leaves",
        write_policies=WRITE_BACK,
        length=4,
        quick=True,
        kinds=Kinds(upkeep=AsksEvicted),
    ),
    Bug(
        identifier="unlocked-node-stays-hidden",
        sentence="A node that nobody locks any more does not return to the device leaves.",
        imitates="SGLang #25068",
        law="device-leaves",
        write_policies=ANY_WRITE_POLICY,
        length=2,
        quick=True,
        kinds=Kinds(upkeep=ForgetsUnlocked),
    ),
)
