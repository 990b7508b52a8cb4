"""The complete state of a real HiRadixCache as a Snapshot, without changing it.

What is projected of a node is kept beside it and used again while nothing of the node changed:
tensors are compared by identity and by torch's count of in-place changes. ``fresh`` looks at
everything again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch

from hicache_impl.sglang.differences import Calls
from hicache_impl.sglang.requests import Running
from hicache_model.snapshot import Node, Path, Request, Slots, Snapshot, Transfer

MIXED = -1

FRESH_INTERVAL = 64
"""Complete observations between two that trust nothing."""


def slots_of(tensor: Any) -> Slots:
    return tuple(tensor.tolist())


# -- bytes -----------------------------------------------------------------------------------------


class Buffers:
    """The KV of one tier. Layer ``l`` holds a fingerprint times 2l + 1 in K, negated in V.

    A slot that does not hold the same fingerprint in all of them reads as MIXED.
    """

    def __init__(self, keys: Iterable[Any], values: Iterable[Any]) -> None:
        self.views = [buffer.view(-1) for buffer in (*keys, *values)]
        layers = range(len(self.views) // 2)
        self.factors = [2 * layer + 1 for layer in layers] + [-2 * layer - 1 for layer in layers]
        self._versions: list[int] = []
        self._content: list[int] = []

    def write(self, slots: Any, fingerprints: tuple[int, ...]) -> None:
        values = torch.tensor(fingerprints, dtype=torch.int64)
        for view, factor in zip(self.views, self.factors, strict=True):
            view[slots] = values if factor == 1 else values * factor

    def read(self, fresh: bool = False) -> list[int]:
        """The content of every slot; the same list again while no buffer was written to."""
        versions = [view._version for view in self.views]
        if fresh or versions != self._versions:
            self._versions, self._content = versions, self._decode(*self.views)
        return self._content

    def read_at(self, slots: Slots) -> list[int]:
        chosen = torch.tensor(slots, dtype=torch.int64)
        return self._decode(*(view[chosen] for view in self.views))

    def _decode(self, first: Any, *others: Any) -> list[int]:
        content: list[int] = first.tolist()
        for other, factor in zip(others, self.factors[1:], strict=True):
            wanted = first * factor
            if not torch.equal(other, wanted):
                same = (other == wanted).tolist()
                content = [c if s else MIXED for c, s in zip(content, same, strict=True)]
        return content


# -- nodes -----------------------------------------------------------------------------------------


class Seen:
    """What a node looked like, and the Node made of it."""

    __slots__ = (
        "created",
        "device_leaf",
        "hits",
        "host_leaf",
        "host_lock",
        "host_value",
        "host_version",
        "key",
        "last",
        "lock_ref",
        "node",
        "parent",
        "path",
        "priority",
        "value",
        "value_version",
    )

    node: Node | None

    def __init__(self, real: Any, parent: Path | None, path: Path) -> None:
        self.key, self.parent, self.path = real.key, parent, path
        self.value: Any = None
        self.host_value: Any = None
        self.last: Any = None
        self.value_version = self.host_version = 0
        self.node = None

    def shows(self, real: Any, device_leaf: bool, host_leaf: bool) -> bool:
        """Whether ``node`` is still what the real node looks like."""
        value, host_value = real.value, real.host_value
        return (
            real.last_access_time == self.last
            and real.lock_ref == self.lock_ref
            and value is self.value
            and host_value is self.host_value
            and device_leaf == self.device_leaf
            and host_leaf == self.host_leaf
            and real.hit_count == self.hits
            and real.host_ref_counter == self.host_lock
            and real.priority == self.priority
            and real.creation_time == self.created
            and (value is None or value._version == self.value_version)
            and (host_value is None or host_value._version == self.host_version)
        )

    def look(self, real: Any, device_leaf: bool, host_leaf: bool) -> None:
        """Make ``node`` of what the real node looks like now."""
        before = self.node
        device, self.value_version = _slots_again(
            real.value, self.value, self.value_version, before.device if before else None
        )
        host, self.host_version = _slots_again(
            real.host_value, self.host_value, self.host_version, before.host if before else None
        )
        self.value, self.host_value = real.value, real.host_value
        self.lock_ref, self.host_lock = real.lock_ref, real.host_ref_counter
        self.device_leaf, self.host_leaf = device_leaf, host_leaf
        self.hits, self.priority = real.hit_count, real.priority
        self.last, self.created = real.last_access_time, real.creation_time
        self.node = Node(
            self.path,
            len(self.key),
            device,
            host,
            self.lock_ref,
            self.host_lock,
            device_leaf,
            host_leaf,
            self.hits,
            self.priority,
            int(self.last),
            int(self.created),
        )


def _slots_again(
    tensor: Any, before: Any, version: int, slots: Slots | None
) -> tuple[Slots | None, int]:
    """The slots in ``tensor``, taken from ``slots`` where it is unchanged, and its version."""
    if tensor is None:
        return None, 0
    if tensor is before and tensor._version == version:
        return slots, version
    return slots_of(tensor), tensor._version


class FreeList:
    """A free list that is converted again only when its tensors are others."""

    def __init__(self) -> None:
        self._tensors: tuple[Any, ...] = ()
        self._slots: Slots = ()

    def read(self, tensors: tuple[Any, ...], fresh: bool) -> Slots:
        known = self._tensors
        if fresh or len(tensors) != len(known) or any(map(_differ, tensors, known)):
            self._tensors = tensors
            self._slots = tuple(slot for tensor in tensors for slot in tensor.tolist())
        return self._slots


def _differ(one: Any, other: Any) -> bool:
    return one is not other


# -- the whole -------------------------------------------------------------------------------------


class Observer:
    """Looks at one cache. What the driver keeps is passed in, and only read."""

    def __init__(
        self,
        calls: Calls,
        device_kv: Buffers,
        running: dict[int, Running],
        locks: list[Any],
        host_locks: list[Any],
    ) -> None:
        self.calls = calls
        self.cache, self.controller = calls.cache, calls.parts.controller
        self.device_kv = device_kv
        host_pool = calls.parts.host_pool
        self.host_kv = Buffers(host_pool.k_data_refs, host_pool.v_data_refs)
        self.running, self.locks, self.host_locks = running, locks, host_locks
        self._device_free, self._host_free = FreeList(), FreeList()
        self._seen: dict[Any, Seen] = {}
        self._copied: dict[Any, tuple[Slots, Slots]] = {}
        self._looks = 0

    def observe(self, fresh: bool = False) -> Snapshot:
        """Everything. ``fresh`` trusts nothing seen before; now and then it is so anyway."""
        self._looks += 1
        fresh = fresh or self._looks % FRESH_INTERVAL == 0
        if fresh:
            self._seen, self._copied = {}, {}
        self._seen = seen = self._walk()
        nodes: dict[Path, Node | None] = {entry.path: entry.node for entry in seen.values()}

        def path_in_tree(real: Any) -> Path | None:
            entry = seen.get(real)
            return entry.path if entry is not None else None

        return Snapshot(
            nodes,
            *self._totals(fresh),
            transfers=self._transfers(path_in_tree),
            requests=self._requests(path_in_tree),
            locks=self._held(self.locks, path_in_tree),
            host_locks=self._held(self.host_locks, path_in_tree),
            strays=self._strays(seen, len(nodes)),
            device_kv=self.device_kv.read(fresh),
            host_kv=self.host_kv.read(fresh),
        )

    def observe_at(self, paths: Iterable[Path]) -> Snapshot:
        """The nodes at ``paths`` and the totals, at a cost that grows with their depth only."""
        nodes = {path: self._node_at(path) for path in paths}
        found = [node for node in nodes.values() if node is not None]
        return Snapshot(
            nodes,
            *self._totals(False),
            transfers=self._transfers(self.path_if_attached),
            requests=self._requests(self.path_if_attached),
            locks=self._held(self.locks, self.path_if_attached),
            host_locks=self._held(self.host_locks, self.path_if_attached),
            device_kv=_contents(self.device_kv, (node.device for node in found)),
            host_kv=_contents(self.host_kv, (node.host for node in found)),
            complete=False,
        )

    def path(self, real: Any) -> Path:
        """The tokens from the root to the end of this node, by its parents; also when detached."""
        parts, namespace, root = [], real.key.extra_key, self.cache.root_node
        while real is not None and real is not root:
            parts.append(real.key.token_ids)
            real = real.parent
        return Path(namespace, tuple(token for part in reversed(parts) for token in part))

    def path_if_attached(self, real: Any) -> Path | None:
        """The path of a node in the tree; None for the root and for a node that left the tree."""
        if real is None or real is self.cache.root_node:
            return None
        below = real
        while below is not self.cache.root_node:
            above = below.parent
            if above is None or self.calls.child(above, below.key) is not below:
                return None
            below = above
        return self.path(real)

    # nodes

    def _walk(self) -> dict[Any, Seen]:
        """What is in the tree now, by real node."""
        device_leaves, host_leaves = self.cache.evictable_leaves, self.cache.evictable_host_leaves
        known, seen = self._seen, {}
        stack: list[tuple[Any, Path | None]] = [(self.cache.root_node, None)]
        while stack:
            above, parent = stack.pop()
            for real in above.children.values():
                entry = known.get(real)
                if entry is None or entry.key is not real.key or entry.parent is not parent:
                    entry = _named(entry, real, parent)
                device_leaf, host_leaf = real in device_leaves, real in host_leaves
                if not entry.shows(real, device_leaf, host_leaf):
                    entry.look(real, device_leaf, host_leaf)
                seen[real] = entry
                if real.children:
                    stack.append((real, entry.path))
        return seen

    def _node_at(self, path: Path) -> Node | None:
        real = self._find(path)
        if real is None:
            return None
        entry = self._seen.get(real)
        if entry is None or entry.key is not real.key or entry.path != path:
            parent = Path(path.namespace, path.tokens[: len(path.tokens) - len(real.key)])
            self._seen[real] = entry = Seen(real, parent if parent.tokens else None, path)
        leaves = real in self.cache.evictable_leaves, real in self.cache.evictable_host_leaves
        if not entry.shows(real, *leaves):
            entry.look(real, *leaves)
        return entry.node

    def _find(self, path: Path) -> Any:
        """The real node whose path is exactly this, or None."""
        real, done, tokens = self.cache.root_node, 0, path.tokens
        while real is not None and done < len(tokens):
            page = tokens[done : done + self.calls.page_size]
            real = self.calls.child(real, self.calls.key(page, path.namespace))
            if real is not None:
                edge = tuple(real.key.token_ids)
                if edge != tokens[done : done + len(edge)]:
                    return None
                done += len(edge)
        return real

    def _strays(self, seen: dict[Any, Seen], paths: int) -> tuple[str, ...]:
        """Members of the kept sets that are not in the tree, and paths that two nodes claim."""
        strays = [f"{len(seen) - paths} nodes at the path of another"] if paths != len(seen) else []
        for name in ("evictable_leaves", "evictable_host_leaves"):
            gone = [real for real in getattr(self.cache, name) if real not in seen]
            strays += sorted(f"{name}: {self.path(real)}" for real in gone)
        return tuple(strays)

    # the rest

    def _totals(self, fresh: bool) -> tuple[int, int, int, int, Slots, Slots]:
        cache, parts, ways = self.cache, self.calls.parts, self.calls.ways
        return (
            cache.evictable_size_,
            cache.protected_size_,
            len(cache.evictable_leaves),
            len(cache.evictable_host_leaves),
            self._device_free.read(ways.device_free(parts.allocator), fresh),
            self._host_free.read(ways.host_free(parts.host_pool), fresh),
        )

    def _transfers(self, path_of: Callable[[Any], Path | None]) -> tuple[Transfer, ...]:
        """Writes in flight, started loads, queued loads, each in order."""
        controller, loading = self.controller, self.cache.ongoing_load_back
        writes, loads = controller.ack_write_queue, controller.ack_load_queue
        if not (writes or loads or controller.load_queue):
            return ()
        copied = self._copied = {
            ack.finish_event.marker: self._slots_of_copy(ack) for ack in (*writes, *loads)
        }

        def transfer(kind: str, ack: Any, nodes: Iterable[Any]) -> Transfer:
            source, target = copied[ack.finish_event.marker]
            device, host = (source, target) if kind == "write" else (target, source)
            return Transfer(kind, True, tuple(map(path_of, nodes)), device, host)

        return (
            *(transfer("write", ack, map(self._written, ack.node_ids)) for ack in writes),
            *(transfer("load", ack, map(loading.get, ack.node_ids)) for ack in loads),
            *(
                Transfer(
                    "load",
                    False,
                    tuple(path_of(loading.get(number)) for number in queued.node_ids),
                    slots_of(queued.device_indices),
                    slots_of(queued.host_indices),
                )
                for queued in controller.load_queue
            ),
        )

    def _written(self, number: int) -> Any:
        pending = self.cache.ongoing_write_through.get(number)
        return pending if pending is None else self.calls.ways.written_node(pending)

    def _slots_of_copy(self, ack: Any) -> tuple[Slots, Slots]:
        """Source and target of the copies that this acknowledgement waits for, one a layer."""
        marker = ack.finish_event.marker
        known = self._copied.get(marker)
        if known is None:
            copy = marker.copies[0]
            known = (slots_of(copy.source_slots), slots_of(copy.target_slots))
        return known

    def _requests(self, path_of: Callable[[Any], Path | None]) -> dict[int, Request]:
        table = self.calls.rows.req_to_token
        return {
            number: Request(
                request.tokens,
                request.namespace,
                request.computed,
                request.home.cache_protected_len,
                path_of(request.req.last_node),
                slots_of(table[request.home.req_pool_idx, : request.computed]),
            )
            for number, request in self.running.items()
        }

    def _held(self, held: Iterable[Any], path_of: Callable[[Any], Path | None]) -> tuple[Path, ...]:
        """The current paths of the nodes that the driver holds; the last one of a lost node."""
        paths = (path_of(real) or self.path(real) for real in held)
        return tuple(sorted(paths, key=_by_name))


def _named(before: Seen | None, real: Any, parent: Path | None) -> Seen:
    """An entry for a node that is new or has another edge; an equal path stays the same object."""
    above = parent.tokens if parent is not None else ()
    path = Path(real.key.extra_key, above + tuple(real.key.token_ids))
    if before is not None and before.path == path:
        if before.key is real.key:
            before.parent = parent
            return before
        path = before.path
    return Seen(real, parent, path)


def _contents(buffers: Buffers, slots: Iterable[Slots | None]) -> dict[int, int]:
    wanted = tuple(slot for some in slots if some is not None for slot in some)
    return dict(zip(wanted, buffers.read_at(wanted), strict=True)) if wanted else {}


def _by_name(path: Path) -> tuple[str, tuple[int, ...]]:
    return (path.namespace or "", path.tokens)
