"""Where a release keeps the tree of its UnifiedRadixCache, and how it names a node outside of it.

Up to 0.5.16 the cache is its own tree, and callers hold nodes; then there is a tree core beside it,
and callers hold integer ids.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from operator import attrgetter
from typing import Any

import attrs

from hicache_impl.sglang.releases import Range


@attrs.define(frozen=True, slots=True)
class Places:
    """Modules are named below ``sglang.srt``; ``clock`` is that of all nodes."""

    components: str
    clock: str
    nodes: str
    #: cache -> what has the root and the kept sets.
    tree: Callable[[Any], Any]
    #: (tree, handle) -> the node; the second form, None for one that has left the tree.
    node: Callable[[Any, Any], Any]
    node_or_none: Callable[[Any, Any], Any]
    #: node -> what callers hold.
    handle: Callable[[Any], Any]
    #: tree -> the nodes, and the root, that it finds by their ids; none where there are no ids.
    registered: Callable[[Any], Collection[Any]]


def _itself(value: Any) -> Any:
    return value


def _second(tree: Any, handle: Any) -> Any:
    return handle


def _none(tree: Any) -> Collection[Any]:
    return ()


IN_CACHE = Places(
    components="mem_cache.unified_cache_components",
    clock="mem_cache.unified_cache_components.tree_component",
    nodes="mem_cache.unified_radix_cache",
    tree=_itself,
    node=_second,
    node_or_none=_second,  # observers find out by themselves whether it is attached
    handle=_itself,
    registered=_none,
)
IN_CORE = Places(
    components="mem_cache.unified_cache.components",
    clock="mem_cache.unified_cache.components.base",
    nodes="mem_cache.unified_cache.unified_tree_core",
    tree=attrgetter("tree_core"),
    node=lambda tree, handle: tree.node_by_id(handle),
    node_or_none=lambda tree, handle: tree._node_arena.get(handle),
    handle=attrgetter("id"),
    registered=lambda tree: tree._node_arena.values(),
)

#: The Rust core shows no nodes: here a node is its id.
IN_RUST = attrs.evolve(
    IN_CORE, node=_second, node_or_none=_second, handle=_itself, registered=_none
)

TABLE = (
    (Range(before="0.5.17"), IN_CACHE),
    (
        Range(since="0.5.17", before="0.5.20"),
        attrs.evolve(IN_CORE, clock="mem_cache.unified_cache.components.tree_component"),
    ),
    (Range(since="0.5.20"), IN_CORE),
)


def places(version: str) -> Places:
    """The one entry that holds for ``version``."""
    (found,) = (places for releases, places in TABLE if version in releases)
    return found
