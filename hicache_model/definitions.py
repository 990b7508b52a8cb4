"""What is derived, never stored: each kept set and size of a cache, defined once from the facts.

The definitions hold for the reference's nodes and for the nodes of any snapshot alike. They are
those of SGLang's caches as their maintainers mean them (PR #23537 for HiRadixCache's host leaves;
``_is_host_leaf`` in unified_tree_core.py for UnifiedRadixCache's).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Protocol, TypeAlias

from hicache_model.snapshot import Node, Path


class Facts(Protocol):
    """What the definitions read of a node."""

    @property
    def evicted(self) -> bool: ...
    @property
    def backed_up(self) -> bool: ...
    @property
    def lock_ref(self) -> int: ...
    @property
    def host_lock(self) -> int: ...
    @property
    def length(self) -> int: ...


def is_device_leaf(node: Facts, children: Iterable[Facts]) -> bool:
    """On the device, not locked, and no child on the device."""
    if node.evicted or node.lock_ref > 0:
        return False
    return all(child.evicted for child in children)


def is_host_leaf(node: Facts, children: Iterable[Facts]) -> bool:
    """Evicted, not locked, and no child backed up."""
    if not node.evicted or node.lock_ref > 0:
        return False
    return not any(child.backed_up for child in children)


def is_childless_host_leaf(node: Facts, children: Collection[Facts]) -> bool:
    """Evicted, backed up, neither locked nor pinned, and no child at all."""
    if not node.evicted or not node.backed_up:
        return False
    return node.lock_ref == 0 and node.host_lock == 0 and not children


IsHostLeaf: TypeAlias = Callable[[Facts, Collection[Facts]], bool]

HOST_LEAF: Mapping[str, IsHostLeaf] = {
    "no_backed_up_child": is_host_leaf,
    "no_child": is_childless_host_leaf,
}
"""Under the values of the dialect ``host_leaf``."""


def evictable_size(nodes: Iterable[Facts]) -> int:
    """Tokens on the device that nobody locks."""
    return sum(node.length for node in nodes if not node.evicted and node.lock_ref == 0)


def protected_size(nodes: Iterable[Facts]) -> int:
    """Tokens of locked nodes."""
    return sum(node.length for node in nodes if node.lock_ref > 0)


def usable_length(has: Sequence[bool], window: int) -> int:
    """The longest prefix of a path whose last ``window`` tokens all have a component's KV.

    ``has`` says of each token whether it does.
    """
    ends = range(len(has), 0, -1)
    return next((end for end in ends if all(has[max(0, end - window) : end])), 0)


def parent_path(node: Node) -> Path | None:
    """The path of the parent; None for a child of the root."""
    start = node.start
    return Path(node.path.namespace, node.path.tokens[:start]) if start > 0 else None


class Family:
    """Parents and children among the nodes of one complete snapshot."""

    def __init__(
        self, nodes: Mapping[Path, Node | None], host_leaf: str = "no_backed_up_child"
    ) -> None:
        self._is_host_leaf = HOST_LEAF[host_leaf]
        self.nodes = {path: node for path, node in nodes.items() if node is not None}
        self.parents = {path: parent_path(node) for path, node in self.nodes.items()}
        self.children: dict[Path | None, list[Node]] = {}
        for path, above in self.parents.items():
            self.children.setdefault(above, []).append(self.nodes[path])

    def children_of(self, node: Node) -> list[Node]:
        return self.children.get(node.path, [])

    def parent_of(self, node: Node) -> Node | None:
        path = self.parents[node.path]
        return None if path is None else self.nodes.get(path)

    def subtree(self, node: Node) -> Iterator[Node]:
        """The node and everything below it."""
        pending = [node]
        while pending:
            node = pending.pop()
            yield node
            pending.extend(self.children_of(node))

    def device_leaves(self) -> set[Path]:
        return {p for p, n in self.nodes.items() if is_device_leaf(n, self.children_of(n))}

    def host_leaves(self) -> set[Path]:
        return {p for p, n in self.nodes.items() if self._is_host_leaf(n, self.children_of(n))}


def is_on_path(path: Path | None, end: Path) -> bool:
    """Whether ``path`` is ``end`` or one of its prefixes."""
    return (
        path is not None
        and path.namespace == end.namespace
        and end.tokens[: len(path.tokens)] == path.tokens
    )
