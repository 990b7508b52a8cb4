"""The complete state of a cache as a Snapshot, without changing it.

What was made of a node, a free list or a buffer is used again while nothing of it changed; now and
then everything is looked at afresh. Only what the cache keeps is shown: nothing is recomputed.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

import attrs

from hicache_impl.native.cache import HierarchicalCache
from hicache_impl.native.kv import KVBuffers
from hicache_impl.native.loading import Load
from hicache_impl.native.pools import FreeList
from hicache_impl.native.requests import Running
from hicache_impl.native.tree import TreeNode
from hicache_impl.native.writing import Write
from hicache_model.snapshot import Node, Path, Request, Slots, Snapshot, Transfer

FRESH_INTERVAL = 64
"""Complete observations between two that trust nothing."""

PathOf: TypeAlias = Callable[[TreeNode], "Path | None"]


@attrs.define(slots=True)
class Held:
    """What the driver keeps: running requests, and the nodes that it locks and pins."""

    running: dict[int, Running]
    locks: list[TreeNode] = attrs.field(factory=list)
    pins: list[TreeNode] = attrs.field(factory=list)


# -- bytes and free lists --------------------------------------------------------------------------


class Contents:
    """The fingerprints in one tier's slots; the same list again while no buffer was written to."""

    def __init__(self, buffers: KVBuffers, trusted: bool) -> None:
        self.buffers, self.trusted = buffers, trusted
        self._version, self._content = -1, list[int]()

    def read(self, fresh: bool) -> list[int]:
        version = self.buffers.version
        if fresh or not self.trusted or version != self._version:
            self._version, self._content = version, self.buffers.contents()
        return self._content

    def read_at(self, some: Iterable[Slots | None]) -> dict[int, int]:
        slots = tuple([slot for one in some if one is not None for slot in one])
        return dict(zip(slots, self.buffers.contents_of(slots), strict=True)) if slots else {}


class Free:
    """A free list; the same tuple again while nothing was taken or given back."""

    def __init__(self, numbers: FreeList) -> None:
        self.numbers = numbers
        self._changes, self._slots = -1, ()

    _slots: Slots

    def read(self, fresh: bool) -> Slots:
        if fresh or self.numbers.changes != self._changes:
            self._changes, self._slots = self.numbers.changes, tuple(self.numbers.free)
        return self._slots


# -- nodes -----------------------------------------------------------------------------------------


class Seen:
    """A node as it was seen, and the Node made of it."""

    __slots__ = ("key", "node", "parent", "path", "state")

    node: Node

    def __init__(self, real: TreeNode, parent: Path | None, path: Path) -> None:
        self.key, self.parent, self.path = real.key, parent, path
        self.state: tuple[Any, ...] = ()

    def look(self, state: tuple[Any, ...]) -> None:
        """Make ``node`` of what the real node looks like now."""
        self.state = state
        device, host, *rest = state
        self.node = Node(self.path, len(self.key), _shown(device), _shown(host), *rest)


def _shown(slots: array[int] | None) -> Slots | None:
    return None if slots is None else tuple(slots)


class Nodes:
    """The nodes of one tree, and their projections by path."""

    def __init__(self, cache: HierarchicalCache) -> None:
        self.tree, self.upkeep = cache.tree, cache.upkeep
        self.by_path: dict[Path, Node | None] = {}
        self._seen: dict[TreeNode, Seen] = {}
        self._members = self._doubles = 0
        self._looked_at_some = False

    def forget(self) -> None:
        self.by_path, self._seen = {}, {}

    def look(self) -> None:
        """Walk the whole tree. Nothing is made anew for a node that did not change."""
        device_leaves, host_leaves = self.upkeep.device_leaves, self.upkeep.host_leaves
        known, seen, changed, moved, members, twice = self._seen, {}, [], False, 0, 0
        stack: list[tuple[TreeNode, Path | None]] = [(self.tree.root, None)]
        while stack:
            above, parent = stack.pop()
            for real in above.children.values():
                if real in seen:
                    twice += 1
                    continue
                entry = known.get(real)
                if entry is None or entry.key is not real.key or entry.parent is not parent:
                    entry, moved = _named(entry, real, parent), True
                device_leaf, host_leaf = real in device_leaves, real in host_leaves
                members += device_leaf + host_leaf
                state = (  # as _state_of, without the call
                    real.device,
                    real.host,
                    real.lock_ref,
                    real.host_lock,
                    device_leaf,
                    host_leaf,
                    real.hit_count,
                    real.priority,
                    real.last_access,
                    real.creation,
                    real.reach,
                )
                if state != entry.state:
                    entry.look(state)
                    changed.append(entry)
                seen[real] = entry
                if real.children:
                    stack.append((real, entry.path))
        self._renew(moved or len(seen) != len(known), seen, changed)
        self._seen, self._members = seen, members
        self._doubles = twice + len(seen) - len(self.by_path)

    def _renew(self, moved: bool, seen: dict[TreeNode, Seen], changed: list[Seen]) -> None:
        if moved or self._looked_at_some:
            self.by_path = {entry.path: entry.node for entry in seen.values()}
            self._looked_at_some = False
        elif changed:
            self.by_path = self.by_path.copy()  # keeps the hashes of the paths
            for entry in changed:
                self.by_path[entry.path] = entry.node

    def path_of(self, real: TreeNode) -> Path | None:
        """The path of a node of the tree walked last; None for the root and for any other."""
        entry = self._seen.get(real)
        return entry.path if entry is not None else None

    def strays(self) -> tuple[str, ...]:
        """Members of the kept sets that are not in the tree, and nodes that are there twice."""
        device, host = self.upkeep.device_leaves, self.upkeep.host_leaves
        if self._members == len(device) + len(host) and not self._doubles:
            return ()
        found = [f"{self._doubles} nodes or paths twice in the tree"] if self._doubles else []
        sets = {"evictable_device_leaves": device, "evictable_host_leaves": host}
        for name, members in sets.items():
            gone = [real for real in members if real not in self._seen]
            found += sorted(f"{name}: {path_of_any(real)}" for real in gone)
        return tuple(found)

    # without walking

    def at(self, path: Path) -> Node | None:
        self._looked_at_some = True  # entries are then newer than ``by_path``
        real = self._find(path)
        if real is None:
            return None
        entry = self._seen.get(real)
        if entry is None or entry.key is not real.key or entry.path != path:
            above = path.tokens[: len(path.tokens) - len(real.key)]
            parent = Path(path.namespace, above) if above else None
            self._seen[real] = entry = Seen(real, parent, path)
        entry.look(self._state_of(real))
        return entry.node

    def _state_of(self, real: TreeNode) -> tuple[Any, ...]:
        return (
            real.device,
            real.host,
            real.lock_ref,
            real.host_lock,
            real in self.upkeep.device_leaves,
            real in self.upkeep.host_leaves,
            real.hit_count,
            real.priority,
            real.last_access,
            real.creation,
            real.reach,
        )

    def _find(self, path: Path) -> TreeNode | None:
        """The real node whose path is exactly this, or None."""
        real, depth, (namespace, tokens) = self.tree.root, 0, path
        while depth < len(tokens):
            child = self.tree.child(real, namespace, tokens, depth)
            if child is None or child.key != tokens[depth : depth + len(child.key)]:
                return None
            real, depth = child, depth + len(child.key)
        return real

    def path_if_attached(self, real: TreeNode) -> Path | None:
        """As ``path_of``, for the tree as it is now."""
        below = real
        while below.parent is not None:
            if below.parent.children.get(below.edge) is not below:
                return None
            below = below.parent
        return None if real is self.tree.root or below is not self.tree.root else path_of_any(real)


def path_of_any(real: TreeNode) -> Path:
    """All tokens down to the end of this node, by its parents; also of a detached one."""
    keys, node = [], real
    while node.parent is not None:
        keys.append(node.key)
        node = node.parent
    return Path(real.namespace, tuple([token for key in reversed(keys) for token in key]))


def _named(before: Seen | None, real: TreeNode, parent: Path | None) -> Seen:
    """An entry for a node that is new or hangs elsewhere; an equal path stays the same object."""
    path = Path(real.namespace, (parent.tokens if parent is not None else ()) + real.key)
    if before is not None and before.path == path:
        if before.key is real.key:
            before.parent = parent
            return before
        path = before.path
    return Seen(real, parent, path)


# -- the whole -------------------------------------------------------------------------------------


class Observer:
    """Looks at one cache. What the driver holds is passed in, and only read."""

    def __init__(self, cache: HierarchicalCache, held: Held) -> None:
        parts = cache.parts
        self.cache, self.held = cache, held
        self.nodes = Nodes(cache)
        trusted = cache.settings.device == "cpu"  # a GPU writes after the copy was issued
        self.device_kv = Contents(parts.device_kv, trusted)
        self.host_kv = Contents(parts.host_kv, trusted)
        self.device_free = Free(parts.device_pool.pages)
        self.host_free = Free(parts.host_pool.slots)
        self._looks = 0

    def observe(self, fresh: bool = False) -> Snapshot:
        """Everything. ``fresh`` trusts nothing seen before; now and then it is so anyway."""
        self._looks += 1
        fresh = fresh or self._looks % FRESH_INTERVAL == 0
        if fresh:
            self.nodes.forget()
        self.nodes.look()
        return Snapshot(
            self.nodes.by_path,
            *self._totals(fresh),
            *self._holders(self.nodes.path_of),
            self.nodes.strays(),
            self.device_kv.read(fresh),
            self.host_kv.read(fresh),
        )

    def observe_at(self, paths: Iterable[Path]) -> Snapshot:
        """The nodes at ``paths`` and the totals, at a cost that grows with their depth only."""
        nodes = {path: self.nodes.at(path) for path in paths}
        found = [node for node in nodes.values() if node is not None]
        return Snapshot(
            nodes,
            *self._totals(False),
            *self._holders(self.nodes.path_if_attached),
            (),
            self.device_kv.read_at(node.device for node in found),
            self.host_kv.read_at(node.host for node in found),
            complete=False,
        )

    def _totals(self, fresh: bool) -> tuple[int, int, int, int, Slots, Slots]:
        upkeep = self.cache.upkeep
        return (
            upkeep.evictable_size,
            upkeep.protected_size,
            len(upkeep.device_leaves),
            len(upkeep.host_leaves),
            self.device_free.read(fresh),
            self.host_free.read(fresh),
        )

    def _holders(
        self, path_of: PathOf
    ) -> tuple[tuple[Transfer, ...], dict[int, Request], tuple[Path, ...], tuple[Path, ...]]:
        held = self.held
        return (
            tuple(self._transfers(path_of)),
            {number: _request(r, path_of(r.anchor)) for number, r in held.running.items()},
            _held(held.locks, path_of),
            _held(held.pins, path_of),
        )

    def _transfers(self, path_of: PathOf) -> Iterable[Transfer]:
        """Writes in flight, started loads, queued loads, each in order."""
        loads = self.cache.loads
        for write in self.cache.writer.pending:
            yield _started("write", [path_of(write.node)], write)
        for load in loads.started:
            yield _started("load", map(path_of, load.nodes), load)
        for queued in loads.queued:
            anchors = (path_of(queued.node),)
            yield Transfer("load", False, anchors, tuple(queued.device), tuple(queued.host))


def _started(kind: str, paths: Iterable[Path | None], copied: Write | Load) -> Transfer:
    device, host = tuple(copied.device), tuple(copied.host)
    return Transfer(kind, True, tuple(paths), device, host, arrived=copied.transfer.done())


def _request(request: Running, anchor: Path | None) -> Request:
    return Request(
        request.tokens,
        request.namespace,
        request.computed,
        request.protected,
        anchor,
        tuple(request.row),
        request.read,
    )


def _held(nodes: list[TreeNode], path_of: PathOf) -> tuple[Path, ...]:
    """The current paths of the nodes that the driver holds; the last one of a lost node."""
    if not nodes:
        return ()
    paths = [path_of(real) or path_of_any(real) for real in nodes]
    return tuple(sorted(paths, key=Path.order))
