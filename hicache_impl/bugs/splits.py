"""Planted bugs in a split: both halves together must be what the node was."""

from __future__ import annotations

from hicache_impl.bugs.bug import WRITE_BACK, WRITING_THROUGH, Bug
from hicache_impl.native.parts import Kinds
from hicache_impl.native.tree import RadixTree, Tokens, TreeNode


class DropsPriority(RadixTree):
    """The upper half has the priority of the insert that splits, or none."""

    given = 0

    def child(
        self, node: TreeNode, namespace: str | None, tokens: Tokens, depth: int
    ) -> TreeNode | None:
        self.given = 0
        return super().child(node, namespace, tokens, depth)

    def raise_priority(self, node: TreeNode, priority: int) -> None:
        super().raise_priority(node, priority)
        self.given = priority

    def inherit(self, upper: TreeNode, lower: TreeNode) -> None:
        super().inherit(upper, lower)
        upper.priority = self.given


class CutsTheHostCopyEarly(RadixTree):
    """Of a node on the device: of any other a request loads what is cut at once, and crashes."""

    def divide_slots(self, upper: TreeNode, lower: TreeNode, length: int) -> None:
        host = lower.host
        super().divide_slots(upper, lower, length)
        if host is not None and not lower.evicted:
            early = length - self.page_size
            upper.host, lower.host = host[:early], host[early:]


SPLITS = (
    Bug(
        identifier="split-drops-the-priority",
        sentence="The upper half of a node that is split forgets the priority that the node had.",
        imitates="SGLang before 0.5.8, _split_node",
        law="split-neutral",
        write_policies=WRITE_BACK,
        eviction_policy="priority",
        length=2,
        kinds=Kinds(tree=DropsPriority),
    ),
    Bug(
        identifier="split-cuts-the-host-copy-early",
        sentence="A split gives the lower half one page too many of the host's slots.",
        imitates="SGLang #16370, #31108",
        law="lengths-agree",
        write_policies=WRITING_THROUGH,
        length=2,
        quick=True,
        kinds=Kinds(tree=CutsTheHostCopyEarly),
    ),
)
