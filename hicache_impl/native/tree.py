"""The radix tree over token prefixes: find, split, add and unlink nodes.

A node is named by what lies on its edge. All lengths are tokens and whole pages; with ``bigram``
they are pairs of neighbouring tokens, of which a list has one less. Time is a clock that ticks at
every visit, so that no two nodes ever have the same time.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import TypeAlias

from hicache_impl.native.pools import Slots, slots_of
from hicache_model.keys import keys_of, length_in_pages

Tokens: TypeAlias = tuple[int, ...]


class TreeNode:
    """The KV of the tokens ``key``, which follow those of ``parent``.

    ``device`` and ``host`` are its slots in each tier, None where it is not there. ``lock_ref``
    counts those who need it, or a node below it, on the device; ``host_lock`` those who need its
    host copy. ``edge`` is where the parent's ``children`` hold it. ``start`` tokens are above it,
    and ``reach`` is the longest that its path, with what hung below it, ever was.
    """

    __slots__ = (
        "children",
        "creation",
        "device",
        "edge",
        "hit_count",
        "host",
        "host_lock",
        "key",
        "last_access",
        "lock_ref",
        "namespace",
        "parent",
        "priority",
        "reach",
        "start",
    )

    def __init__(
        self, parent: TreeNode | None, namespace: str | None, key: Tokens, edge: Hashable
    ) -> None:
        self.parent = parent
        self.namespace = namespace
        self.key = key
        self.edge = edge
        self.children: dict[Hashable, TreeNode] = {}
        self.device: Slots | None = None
        self.host: Slots | None = None
        self.lock_ref = 0
        self.host_lock = 0
        self.hit_count = 0
        self.priority = 0
        self.last_access = 0
        self.creation = 0
        self.start = 0
        self.reach = 0

    @property
    def evicted(self) -> bool:
        return self.device is None

    @property
    def backed_up(self) -> bool:
        return self.host is not None

    @property
    def above(self) -> TreeNode:
        """The parent, of a node that is not the root."""
        assert self.parent is not None
        return self.parent


class RadixTree:
    """Children are found by their first page, below the root also by their namespace.

    The root holds nothing, is always on both tiers, and never locked.
    """

    def __init__(self, page_size: int, bigram: bool = False) -> None:
        self.page_size = page_size
        self.bigram = bigram
        self.clear()

    def clear(self) -> None:
        self.clock = 0
        self.root = TreeNode(None, None, (), None)
        self.root.device = self.root.host = slots_of(())

    def whole_pages(self, tokens: Tokens) -> Tokens:
        """What ``tokens`` are found by, without the part of a page at their end."""
        if self.bigram:
            tokens = keys_of(tokens, bigram=True)
        rest = len(tokens) % self.page_size
        return tokens[:-rest] if rest else tokens

    def length_in_pages(self, count: int) -> int:
        """Of how many tokens the tree takes the KV, where ``count`` follow one another."""
        return length_in_pages(count, self.page_size, bigram=self.bigram)

    def edge(self, namespace: str | None, tokens: Tokens, depth: int) -> Hashable:
        """Under what the child that continues ``tokens`` at ``depth`` is held."""
        page = tokens[depth : depth + self.page_size]
        return page if depth else (namespace, page)

    # -- walking -----------------------------------------------------------------------------------

    def touch(self, node: TreeNode) -> None:
        self.clock += 1
        node.last_access = self.clock

    def child(
        self, node: TreeNode, namespace: str | None, tokens: Tokens, depth: int
    ) -> TreeNode | None:
        """The child of ``node`` that goes on along ``tokens``, from their place ``depth``."""
        return node.children.get(self.edge(namespace, tokens, depth))

    def raise_priority(self, node: TreeNode, priority: int) -> None:
        """An insert gives its priority to the whole node that it meets, if it is higher."""
        node.priority = max(node.priority, priority)

    def visit(self, child: TreeNode, tokens: Tokens, depth: int) -> TreeNode:
        """Refresh the whole node, and cut off what does not lie on ``tokens``.

        Returns the part that does, which now is a node of its own.
        """
        self.touch(child)
        shared = self.shared_length(child.key, tokens, depth)
        return child if shared == len(child.key) else self.split(child, shared)

    def shared_length(self, key: Tokens, tokens: Tokens, depth: int) -> int:
        """How many tokens of ``key`` equal those from ``depth``, in whole pages."""
        ours = tokens[depth : depth + len(key)]
        if ours == key:
            return len(key)
        same, end = 0, min(len(key), len(ours))  # equal up to ``same``, not up to ``end`` + 1
        while end - same >= self.page_size:
            middle = same + (end - same + self.page_size) // (2 * self.page_size) * self.page_size
            if ours[same:middle] == key[same:middle]:
                same = middle
            else:
                end = middle - self.page_size
        return same

    # -- changing ----------------------------------------------------------------------------------

    def add(self, parent: TreeNode, namespace: str | None, tokens: Tokens, depth: int) -> TreeNode:
        """A new leaf below ``parent`` for what ``tokens`` have from ``depth``; in no tier yet."""
        edge = self.edge(namespace, tokens, depth)
        leaf = TreeNode(parent, namespace, tokens[depth:], edge)
        self.touch(leaf)
        leaf.creation = leaf.last_access
        leaf.start = depth
        parent.children[edge] = leaf
        self.raise_reach(leaf, len(tokens))
        return leaf

    def raise_reach(self, node: TreeNode, length: int) -> None:
        """A prefix of ``length`` tokens ends at ``node``; further up no node reaches less."""
        while node.reach < length:
            node.reach = length
            if node.parent is None:
                return
            node = node.parent

    def split(self, lower: TreeNode, length: int) -> TreeNode:
        """Cut the first ``length`` tokens of a node into a new one above it; returns that one.

        Whoever holds ``lower`` holds it still. Both halves together are what it was.
        """
        upper = TreeNode(lower.parent, lower.namespace, lower.key[:length], lower.edge)
        self.inherit(upper, lower)
        self.divide_slots(upper, lower, length)
        lower.above.children[lower.edge] = upper
        lower.key = lower.key[length:]
        lower.start += length
        lower.edge = lower.key[: self.page_size]
        lower.parent = upper
        upper.children[lower.edge] = lower
        return upper

    def inherit(self, upper: TreeNode, lower: TreeNode) -> None:
        """The upper half is as much used and locked as the lower one; a host pin stays below."""
        self.touch(upper)
        upper.creation = upper.last_access
        upper.lock_ref = lower.lock_ref
        upper.hit_count = lower.hit_count
        upper.priority = lower.priority
        upper.start, upper.reach = lower.start, lower.reach

    def divide_slots(self, upper: TreeNode, lower: TreeNode, length: int) -> None:
        """Each half gets its own slots, in both tiers."""
        if lower.device is not None:
            upper.device, lower.device = lower.device[:length], lower.device[length:]
        if lower.host is not None:
            upper.host, lower.host = lower.host[:length], lower.host[length:]

    def unlink(self, leaf: TreeNode) -> None:
        """Take a leaf out of the tree."""
        del leaf.above.children[leaf.edge]

    def subtree(self, node: TreeNode) -> list[TreeNode]:
        """The node and all below it, each before its children."""
        found = [node]
        for member in found:
            found.extend(member.children.values())
        return found


def last_on_device(node: TreeNode) -> TreeNode:
    """The node itself or the nearest above it that is on the device, in the end the root."""
    while node.evicted:
        node = node.above
    return node


def last_on_host(node: TreeNode) -> TreeNode:
    """The node itself or the nearest above it that is backed up, in the end the root."""
    while not node.backed_up:
        node = node.above
    return node
