"""Planted bugs in who holds what."""

from __future__ import annotations

from hicache_impl.bugs.bug import ANY_WRITE_POLICY, Bug
from hicache_impl.native.parts import Kinds
from hicache_impl.native.tree import RadixTree, TreeNode


class UnlockedUpperHalf(RadixTree):
    def inherit(self, upper: TreeNode, lower: TreeNode) -> None:
        super().inherit(upper, lower)
        upper.lock_ref = 0


LOCKS = (
    Bug(
        identifier="split-forgets-locks",
        sentence="A split leaves the upper half of a locked node unlocked.",
        imitates="SGLang #24972, #24153",
        law="sizes",
        write_policies=ANY_WRITE_POLICY,
        length=2,
        quick=True,
        kinds=Kinds(tree=UnlockedUpperHalf),
    ),
)
