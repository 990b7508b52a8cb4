"""The reference's tree: a radix tree over prefixes that holds only facts.

Facts of a node: its prefix, whether it is on the device and on the host, who locks it, and the
counters that eviction policies read. Nothing that follows from them is stored, except ``lock_ref``,
which is the number of holders at or below the node, and sets of nodes whose facts changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias

import attrs

from hicache_model.components.facts import Facts
from hicache_model.dialects import Dialect
from hicache_model.keys import Keys, keys_of
from hicache_model.snapshot import Path

Edge: TypeAlias = tuple[str | None, Keys]


@attrs.define(slots=True, eq=False)
class TreeNode:
    """A node ends at ``path`` for as long as it lives; a split only shortens it from above.

    ``transfer`` is ``write``, ``queued load`` or ``load`` until the copy is acknowledged. ``reach``
    is the longest prefix that ever ended at it or below it.
    """

    path: Path
    length: int
    parent: TreeNode | None
    on_device: bool = False
    on_host: bool = False
    lock_ref: int = 0
    host_lock: int = 0
    transfer: str | None = None
    hit_count: int = 0
    priority: int = 0
    last_access: int = 0
    creation: int = 0
    reach: int = 0
    children: dict[Edge, TreeNode] = attrs.field(factory=dict)
    component: Facts | None = None

    @property
    def evicted(self) -> bool:
        return not self.on_device

    @property
    def backed_up(self) -> bool:
        return self.on_host

    @property
    def start(self) -> int:
        """The position of its first own token."""
        return len(self.path.tokens) - self.length


class Tree:
    """Find, split, add and remove nodes; keeps the clock and what changed.

    ``touched`` are nodes whose policy key may have changed without another fact.
    """

    def __init__(
        self,
        page_size: int,
        dialect: Dialect,
        on_split: Callable[[TreeNode], None],
        bigram: bool = False,
    ) -> None:
        self.page_size = page_size
        self.bigram = bigram
        self.unpaired = int(bigram)  # the last token of a list has no pair
        self.dialect = dialect
        self.on_split = on_split  # hears of every upper half
        self.clear()

    def clear(self) -> None:
        self.root = TreeNode(Path(None, ()), 0, None, on_device=True, on_host=True)
        self.by_path: dict[Path, TreeNode] = {}
        self.changed: set[TreeNode] = set()
        self.touched: set[TreeNode] = set()
        self.removed: set[Path] = set()
        self.clock = 0

    def tick(self) -> int:
        self.clock += 1
        return self.clock

    def touch(self, node: TreeNode) -> None:
        node.last_access = self.tick()
        self.touched.add(node)

    def named(self, namespace: str | None, tokens: tuple[int, ...]) -> TreeNode | None:
        """The node whose prefix is exactly ``tokens``."""
        return self.by_path.get(Path(namespace, keys_of(tokens, bigram=self.bigram)))

    def whole_pages(self, namespace: str | None, tokens: tuple[int, ...]) -> Path:
        """The path of ``tokens`` cut to whole pages of keys."""
        keys = keys_of(tokens, bigram=True) if self.bigram else tokens
        return Path(namespace, keys[: len(keys) // self.page_size * self.page_size])

    def edge(self, path: Path, start: int) -> Edge:
        """How the child that continues ``path`` at ``start`` is found: by its first page."""
        return (path.namespace, path.tokens[start : start + self.page_size])

    def shared_length(self, node: TreeNode, path: Path) -> int:
        """How many of the node's own tokens, in whole pages, lie on ``path``."""
        start, own, other = node.start, node.path.tokens, path.tokens
        end = len(own)
        if own[start:] == other[start:end]:
            return node.length
        position = start
        while (
            own[position : position + self.page_size] == other[position : position + self.page_size]
        ):
            position += self.page_size
        return position - start

    def peek(self, path: Path) -> Iterator[tuple[TreeNode, int]]:
        """The nodes along ``path`` with the length that each shares with it; changes nothing."""
        node, depth = self.root, 0
        while depth < len(path.tokens):
            child = node.children.get(self.edge(path, depth))
            if child is None:
                return
            shared = self.shared_length(child, path)
            yield child, shared
            if shared < child.length:
                return
            node, depth = child, depth + shared

    def walk(
        self, path: Path, priority: int | None = None, touching: bool = True
    ) -> Iterator[TreeNode]:
        """Visit the nodes along ``path``, refreshing each where ``touching`` says so.

        The last is split where ``path`` ends.

        What is refreshed, and whose priority is raised to ``priority``, before and what after a
        split are dialects. The next node is looked up only after the caller has done with this one.
        """
        whole_node = self.dialect.insert_priority_reaches == "whole_node"
        node = self.root
        while len(node.path.tokens) < len(path.tokens):
            child = node.children.get(self.edge(path, len(node.path.tokens)))
            if child is None:
                return
            if touching:
                self.touch(child)
            if priority is not None and whole_node:
                self._raise_priority(child, priority)
            shared = self.shared_length(child, path)
            if shared < child.length:
                child = self.split(child, shared)
            if priority is not None:
                self._raise_priority(child, priority)
            yield child
            node = child

    def refresh_path(self, node: TreeNode) -> None:
        """Give the root and every node down to ``node`` a new time, in this order."""
        path = [node]
        while path[-1].parent is not None:
            path.append(path[-1].parent)
        for member in reversed(path):
            self.touch(member)

    def _raise_priority(self, node: TreeNode, priority: int) -> None:
        if priority > node.priority:
            node.priority = priority
            self.changed.add(node)

    def split(self, lower: TreeNode, length: int) -> TreeNode:
        """Cut ``lower``'s first ``length`` tokens into a new upper node, alike but for dialects."""
        assert lower.parent is not None
        dialect, end, now = self.dialect, lower.start + length, self.tick()
        upper = TreeNode(
            Path(lower.path.namespace, lower.path.tokens[:end]),
            length,
            lower.parent,
            on_device=lower.on_device,
            on_host=lower.on_host,
            lock_ref=lower.lock_ref,
            host_lock=lower.host_lock if dialect.split_pins == "both_halves" else 0,
            transfer=lower.transfer,
            hit_count=lower.hit_count if dialect.split_hits == "both_halves" else 0,
            priority=lower.priority,
            last_access=now,
            creation=lower.creation if dialect.split_creation == "inherited" else now,
            reach=lower.reach,
        )
        if dialect.split_refreshes == "lower_half":
            self.touch(lower)
        lower.parent.children[self.edge(upper.path, upper.start)] = upper
        lower.parent, lower.length = upper, lower.length - length
        upper.children[self.edge(lower.path, lower.start)] = lower
        self.by_path[upper.path] = upper
        self.changed.update((upper, lower))
        self.on_split(upper)
        return upper

    def add(self, parent: TreeNode, path: Path, priority: int) -> TreeNode:
        """A new leaf for what ``path`` has beyond ``parent``, on the device."""
        length = len(path.tokens) - len(parent.path.tokens)
        now = self.tick()
        node = TreeNode(
            path, length, parent, True, priority=priority, last_access=now, creation=now
        )
        parent.children[self.edge(path, node.start)] = node
        self.by_path[path] = node
        self.changed.add(node)
        self._raise_reach(node)
        return node

    def _raise_reach(self, leaf: TreeNode) -> None:
        """What is above reaches at least as far; further up it is never less."""
        node: TreeNode | None = leaf
        while node is not None and node.reach < len(leaf.path.tokens):
            node.reach = len(leaf.path.tokens)
            self.touched.add(node)
            node = node.parent

    def remove(self, node: TreeNode) -> None:
        """Take a node, and what hangs below it, out of the tree."""
        assert node.parent is not None
        del node.parent.children[self.edge(node.path, node.start)]
        self.changed.add(node.parent)
        for gone in self.subtree(node):
            del self.by_path[gone.path]
            self.changed.discard(gone)
            self.touched.discard(gone)
            self.removed.add(gone.path)

    def subtree(self, node: TreeNode) -> list[TreeNode]:
        """The node and everything below it."""
        found = [node]
        for member in found:
            found.extend(member.children.values())
        return found

    def hold(self, node: TreeNode, holders: int) -> None:
        """``holders`` more (or fewer) hold ``node``: its whole path below the root counts them."""
        while node is not self.root:
            node.lock_ref += holders
            self.changed.add(node)
            assert node.parent is not None
            node = node.parent
