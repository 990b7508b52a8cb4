"""The complete state of a real HiRadixCache as a Snapshot, without changing it.

What was made of a node, a free list or a buffer is used again while nothing of it changed: tensors
are compared by identity and by torch's count of in-place changes. ``fresh`` looks at everything
again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from operator import attrgetter
from typing import Any, Protocol, TypeAlias

import torch

from hicache_impl.sglang.build import Parts, by_layer
from hicache_impl.sglang.namespaces import keys_in, namespace_of
from hicache_model.keys import Keys
from hicache_model.snapshot import Node, Path, Request, SavedRequest, Slots, Snapshot, Transfer

MIXED = -1
"""The content of a slot whose buffers do not hold one fingerprint."""

FRESH_INTERVAL = 64
"""Complete observations between two that trust nothing."""

_version = attrgetter("_version")
"""Torch's count of the changes in place of a tensor."""

PathOf: TypeAlias = Callable[[Any], "Path | None"]


class Calls(Protocol):
    """What is looked at through the calls of either cache."""

    parts: Parts
    cache: Any
    rows: Any
    ways: Any
    page_size: int

    def node_key(self, keys: Keys, namespace: str | None) -> Any: ...

    def child(self, node: Any, key: Any) -> Any: ...


class Running(Protocol):
    """What is shown of a running request of either cache."""

    req: Any
    tokens: tuple[int, ...]
    namespace: str | None
    read: Slots

    @property
    def home(self) -> Any: ...

    @property
    def computed(self) -> int: ...


def slots_of(tensor: Any) -> Slots:
    return tuple(tensor.tolist())


# -- bytes and free lists --------------------------------------------------------------------------


class Buffers:
    """The KV of one tier. Layer ``l`` holds a fingerprint times 2l + 1 in K, negated in V."""

    def __init__(self, keys: Iterable[Any], values: Iterable[Any]) -> None:
        self.views = [buffer.view(-1) for pair in zip(keys, values, strict=True) for buffer in pair]
        self.factors = [(1 - i % 2 * 2) * (i // 2 * 2 + 1) for i in range(len(self.views))]
        self.layers = len(self.views) // 2
        self._versions: list[int] = []
        self._content: list[int] = []

    def write(self, slots: Any, fingerprints: tuple[int, ...]) -> None:
        values = torch.tensor(fingerprints, dtype=torch.int64)
        for view, factor in zip(self.views, self.factors, strict=True):
            view[slots] = values if factor == 1 else values * factor

    def read(self, fresh: bool) -> list[int]:
        """The content of every slot; the same list again while no buffer was written to."""
        versions = [*map(_version, self.views)]
        if fresh or versions != self._versions:
            self._versions, self._content = versions, self.decode(*self.views)
        return self._content

    def read_at(self, slots: Slots) -> list[int]:
        chosen = torch.tensor(slots, dtype=torch.int64)
        return self.decode(*(view[chosen] for view in self.views))

    def decode(self, key: Any, *others: Any) -> list[int]:
        """The fingerprint in each row; of each layer K, then V."""
        content: list[int] = key.tolist()
        for other, factor in zip(others, self.factors[1:], strict=True):
            if other.tolist() != [number * factor for number in content]:
                return self._mixed(content, key, *others)
        return content

    def _mixed(self, content: list[int], key: Any, *others: Any) -> list[int]:
        """As torch counts, which goes round at 64 bits."""
        for other, factor in zip(others, self.factors[1:], strict=True):
            same = (other == key * factor).tolist()
            content = [c if s else MIXED for c, s in zip(content, same, strict=True)]
        return content


class FreeList:
    """A free list, converted again only when its tensors are others."""

    def __init__(self) -> None:
        self._tensors: tuple[Any, ...] = ()
        self._state: list[int] = []
        self._slots: Slots = ()

    def count(self, tensors: tuple[Any, ...]) -> range:
        """As many as are free, whichever they are."""
        return range(sum(map(len, tensors)))

    def read(self, tensors: tuple[Any, ...], fresh: bool) -> Slots:
        state = [*map(id, tensors), *map(_version, tensors)]
        if fresh or state != self._state:
            self._tensors, self._state = tensors, state  # as long as one is kept, its id is its own
            self._slots = tuple([slot for tensor in tensors for slot in tensor.tolist()])
        return self._slots


# -- nodes -----------------------------------------------------------------------------------------


class Seen:
    """A node as it was seen, and the Node made of it."""

    __slots__ = (
        "host_value",
        "host_version",
        "key",
        "node",
        "parent",
        "path",
        "state",
        "value",
        "version",
    )

    node: Node

    def __init__(self, real: Any, parent: Path | None, path: Path) -> None:
        self.key, self.parent, self.path = real.key, parent, path
        self.state: tuple[Any, ...] = ()
        self.value: Any = None
        self.host_value: Any = None
        self.version = self.host_version = 0

    def look(
        self, value: Any, host_value: Any, state: tuple[Any, ...], counts: tuple[Any, ...]
    ) -> None:
        """Make ``node`` of what the real node looks like now.

        ``state`` is what is compared to know whether it changed, ``counts`` the same as it is
        shown.
        """
        device, self.version = self._slots("device", value, self.value, self.version)
        host, self.host_version = self._slots(
            "host", host_value, self.host_value, self.host_version
        )
        self.value, self.host_value, self.state = value, host_value, state
        last, lock_ref, host_lock, hits, priority, creation, device_leaf, host_leaf, *rest = counts
        self.node = Node(
            self.path,
            len(self.key),
            device,
            host,
            lock_ref,
            host_lock,
            device_leaf,
            host_leaf,
            hits,
            priority,
            int(last),
            int(creation),
            *rest,
        )

    def _slots(self, tier: str, tensor: Any, before: Any, version: int) -> tuple[Slots | None, int]:
        """The slots in ``tensor``, as before where it is unchanged, and its version."""
        if tensor is None:
            return None, 0
        if tensor is before and tensor._version == version:
            return getattr(self.node, tier), version
        return slots_of(tensor), tensor._version


class Nodes:
    """The nodes of one tree, and their projections by path."""

    def __init__(self, calls: Calls) -> None:
        self.calls, self.cache = calls, calls.cache
        self.by_path: dict[Path, Node | None] = {}
        self._seen: dict[Any, Seen] = {}
        self._members = self._doubles = 0
        self._looked_at_some = False

    def forget(self) -> None:
        self.by_path, self._seen = {}, {}

    def look(self) -> None:
        """Walk the whole tree. Nothing is called for a node that did not change."""
        device_leaves, host_leaves = self.cache.evictable_leaves, self.cache.evictable_host_leaves
        known, seen, changed, moved, members, twice = self._seen, {}, [], False, 0, 0
        stack: list[tuple[Any, Path | None]] = [(self.cache.root_node, None)]
        while stack:
            above, parent = stack.pop()
            for real in above.children.values():
                if real in seen:
                    twice += 1
                    continue
                entry = known.get(real)
                if entry is None or entry.key is not real.key or entry.parent is not parent:
                    entry, moved = named(entry, real, parent), True
                device_leaf, host_leaf = real in device_leaves, real in host_leaves
                members += device_leaf + host_leaf
                value, host_value = real.value, real.host_value
                state = (  # as _counters, without the call
                    real.last_access_time,
                    real.lock_ref,
                    real.host_ref_counter,
                    real.hit_count,
                    real.priority,
                    real.creation_time,
                    device_leaf,
                    host_leaf,
                )
                if (
                    state != entry.state
                    or value is not entry.value
                    or host_value is not entry.host_value
                    or (value is not None and value._version != entry.version)
                    or (host_value is not None and host_value._version != entry.host_version)
                ):
                    entry.look(value, host_value, state, state)
                    changed.append(entry)
                seen[real] = entry
                if real.children:
                    stack.append((real, entry.path))
        self._renew(moved or len(seen) != len(known), seen, changed)
        self._seen, self._members = seen, members
        self._doubles = twice + len(seen) - len(self.by_path)

    def _renew(self, moved: bool, seen: dict[Any, Seen], changed: list[Seen]) -> None:
        if moved or self._looked_at_some:
            self.by_path = {entry.path: entry.node for entry in seen.values()}
            self._looked_at_some = False
        elif changed:
            self.by_path = self.by_path.copy()  # keeps the hashes of the paths
            for entry in changed:
                self.by_path[entry.path] = entry.node

    def path_of(self, real: Any) -> Path | None:
        """The path of a node of the tree walked last; None for the root and for any other."""
        entry = self._seen.get(real)
        return entry.path if entry is not None else None

    def strays(self) -> tuple[str, ...]:
        """Members of the kept sets that are not in the tree, and nodes that are there twice."""
        kept = self._kept_sets()
        if self._members == len(kept[0]) + len(kept[1]) and not self._doubles:
            return ()
        found = [f"{self._doubles} nodes or paths twice in the tree"] if self._doubles else []
        for name, members in zip(("evictable_leaves", "evictable_host_leaves"), kept, strict=True):
            gone = [real for real in members if real not in self._seen]
            found += sorted(f"{name}: {self.path(real)}" for real in gone)
        return tuple(found)

    def _kept_sets(self) -> tuple[Any, Any]:
        return self.cache.evictable_leaves, self.cache.evictable_host_leaves

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
        self._look_at(entry, real)
        return entry.node

    def _look_at(self, entry: Seen, real: Any) -> None:
        leaves = real in self.cache.evictable_leaves, real in self.cache.evictable_host_leaves
        state = (*_counters(real), *leaves)
        entry.look(real.value, real.host_value, state, state)

    def _find(self, path: Path) -> Any:
        """The real node whose path is exactly this, or None."""
        real, done, tokens = self.cache.root_node, 0, path.tokens
        while real is not None and done < len(tokens):
            page = tokens[done : done + self.calls.page_size]
            real = self.calls.child(real, self.calls.node_key(page, path.namespace))
            if real is not None:
                edge = keys_in(real.key)
                if edge != tokens[done : done + len(edge)]:
                    return None
                done += len(edge)
        return real

    def path(self, real: Any) -> Path:
        """All tokens down to the end of this node, by its parents; also of a detached one."""
        parts, namespace, root = [], namespace_of(real.key), self.cache.root_node
        while real is not None and real is not root:
            parts.append(keys_in(real.key))
            real = real.parent
        return Path(namespace, tuple([token for part in reversed(parts) for token in part]))

    def path_if_attached(self, real: Any) -> Path | None:
        """As ``path_of``, for the tree as it is now."""
        root = self.cache.root_node
        if real is None or real is root:
            return None
        below = real
        while below is not root:
            above = below.parent
            if above is None or self.calls.child(above, below.key) is not below:
                return None
            below = above
        return self.path(real)


def _counters(real: Any) -> tuple[Any, ...]:
    return (
        real.last_access_time,
        real.lock_ref,
        real.host_ref_counter,
        real.hit_count,
        real.priority,
        real.creation_time,
    )


def named(before: Seen | None, real: Any, parent: Path | None) -> Seen:
    """An entry for a node that is new or hangs elsewhere; an equal path stays the same object."""
    above = parent.tokens if parent is not None else ()
    path = Path(namespace_of(real.key), above + keys_in(real.key))
    if before is not None and before.path == path:
        if before.key is real.key:
            before.parent = parent
            return before
        path = before.path
    return Seen(real, parent, path)


# -- the whole -------------------------------------------------------------------------------------


class Observer:
    """Looks at one cache. What the driver keeps is passed in, and only read."""

    def __init__(
        self,
        calls: Calls,
        device_kv: Buffers,
        running: Mapping[int, Running],
        locks: list[Any],
        host_locks: list[Any],
    ) -> None:
        self.calls = calls
        self.cache, self.controller = calls.cache, calls.parts.controller
        self.nodes = self._make_nodes()
        self.device_kv = device_kv
        host_pool = calls.parts.host_pool
        self.host_kv = Buffers(*by_layer(host_pool))
        self.running, self.locks, self.host_locks = running, locks, host_locks
        self._device_free, self._host_free = FreeList(), FreeList()
        self._copied: dict[Any, tuple[Slots, Slots]] = {}
        self._requests: dict[int, tuple[tuple[Any, ...], Request]] = {}
        self._table: Any = None
        self._rows: Any = None
        self._looks = 0

    def _make_nodes(self) -> Nodes:
        return Nodes(self.calls)

    def observe(self, fresh: bool = False) -> Snapshot:
        """Everything. ``fresh`` trusts nothing seen before; now and then it is so anyway."""
        self._looks += 1
        fresh = fresh or self._looks % FRESH_INTERVAL == 0
        if fresh:
            self.nodes.forget()
            self._copied, self._requests = {}, {}
        self.nodes.look()
        return Snapshot(
            self.nodes.by_path,
            *self._sizes(),
            self._device_free.read(self._free_on_device(), fresh),
            self._host_free.read(self._free_on_host(), fresh),
            *self._holders(self.nodes.path_of),
            self.nodes.strays(),
            self.device_kv.read(fresh),
            self.host_kv.read(fresh),
            retracted=self._retracted(),
        )

    def observe_at(self, paths: Iterable[Path]) -> Snapshot:
        """The nodes at ``paths`` and the totals, at a cost that grows with their depth only."""
        nodes = {path: self.nodes.at(path) for path in paths}
        found = [node for node in nodes.values() if node is not None]
        return Snapshot(
            nodes,
            *self._sizes(),
            self._device_free.count(self._free_on_device()),
            self._host_free.count(self._free_on_host()),
            *self._holders(self.nodes.path_if_attached),
            (),
            _contents(self.device_kv, (node.device for node in found)),
            _contents(self.host_kv, (node.host for node in found)),
            complete=False,
            retracted=self._retracted(),
        )

    def _sizes(self) -> tuple[int, int, int, int]:
        cache = self.cache
        return (
            cache.evictable_size_,
            cache.protected_size_,
            len(cache.evictable_leaves),
            len(cache.evictable_host_leaves),
        )

    def _free_on_device(self) -> tuple[Any, ...]:
        return self.calls.ways.device_free(self.calls.parts.allocator)

    def _free_on_host(self) -> tuple[Any, ...]:
        return self.calls.ways.host_free(self.calls.parts.host_pool)

    def _holders(
        self, path_of: PathOf
    ) -> tuple[tuple[Transfer, ...], dict[int, Request], tuple[Path, ...], tuple[Path, ...]]:
        return (
            self._transfers(path_of),
            {number: self._request(number, r, path_of) for number, r in self.running.items()},
            self._held(self._locked(), path_of),
            self._held(self._pinned(), path_of),
        )

    # transfers

    def _transfers(self, path_of: PathOf) -> tuple[Transfer, ...]:
        """Writes in flight, started loads, queued loads, each in order."""
        controller = self.controller
        writes, loads = controller.ack_write_queue, controller.ack_load_queue
        if not (writes or loads or controller.load_queue):
            return ()
        acks = (*writes, *loads)
        self._copied = {ack.finish_event.marker: self._slots_of_copy(ack) for ack in acks}
        return (
            *(
                self._started("write", ack, map(self._written, ack.node_ids), path_of)
                for ack in writes
            ),
            *(
                self._started("load", ack, map(self._loading, ack.node_ids), path_of)
                for ack in loads
            ),
            *(self._queued(queued, path_of) for queued in controller.load_queue),
        )

    def _started(self, kind: str, ack: Any, nodes: Iterable[Any], path_of: PathOf) -> Transfer:
        source, target = self._copied[ack.finish_event.marker]
        device, host = (source, target) if kind == "write" else (target, source)
        published = self._published(ack.node_ids, path_of) if kind == "write" else None
        anchors = tuple(map(path_of, nodes))
        arrived = all(copy.moved for copy in ack.finish_event.marker.copies)
        return Transfer(kind, True, anchors, device, host, published=published, arrived=arrived)

    def _queued(self, queued: Any, path_of: PathOf) -> Transfer:
        anchors = tuple([path_of(self._loading(number)) for number in queued.node_ids])
        device, host = slots_of(queued.device_indices), slots_of(queued.host_indices)
        return Transfer("load", False, anchors, device, host)

    def _published(self, numbers: Iterable[int], path_of: PathOf) -> tuple[Path | None, ...] | None:
        """The nodes that the acknowledgement of these writes publishes."""
        ongoing = self.cache.ongoing_write_through
        lists = [self._to_publish(ongoing[number]) for number in numbers if number in ongoing]
        if None in lists:
            return None
        return tuple([path_of(node) for nodes in lists for node in nodes])

    def _to_publish(self, pending: Any) -> Any:
        return self.calls.ways.published_nodes(pending)

    def _written(self, number: int) -> Any:
        pending = self.cache.ongoing_write_through.get(number)
        return pending if pending is None else self.calls.ways.written_node(pending)

    def _loading(self, number: int) -> Any:
        return self.cache.ongoing_load_back.get(number)

    def _slots_of_copy(self, ack: Any) -> tuple[Slots, Slots]:
        """Source and target of the copies that this acknowledgement waits for, one a layer."""
        marker = ack.finish_event.marker
        known = self._copied.get(marker)
        if known is None:
            copy = marker.copies[0]
            known = (slots_of(copy.source_slots), slots_of(copy.target_slots))
        return known

    # requests and locks

    def _request(self, number: int, request: Running, path_of: PathOf) -> Request:
        table, home = self.calls.rows.req_to_token, request.home
        anchor = path_of(self._anchor_of(request.req))
        state = (table._version, request.computed, home.cache_protected_len, anchor)
        known = self._requests.get(number)
        if known is None or known[0] != state:
            known = self._requests[number] = (state, self._projected(request, table, anchor))
        return known[1]

    def _projected(self, request: Running, table: Any, anchor: Path | None) -> Request:
        if table is not self._table:
            self._table, self._rows = table, table.numpy()  # the same memory, cut much faster
        home = request.home
        return Request(
            request.tokens,
            request.namespace,
            request.computed,
            home.cache_protected_len,
            anchor,
            tuple(self._rows[home.req_pool_idx, : request.computed].tolist()),
            request.read,
        )

    def _retracted(self) -> dict[int, SavedRequest]:
        """Requests whose KV waits on the host; HiRadixCache keeps none."""
        return {}

    def _anchor_of(self, req: Any) -> Any:
        """The node that a request locks."""
        return req.last_node

    def _locked(self) -> list[Any]:
        return self.locks

    def _pinned(self) -> list[Any]:
        return self.host_locks

    def _held(self, held: list[Any], path_of: PathOf) -> tuple[Path, ...]:
        """The current paths of the nodes that the driver holds; the last one of a lost node."""
        if not held:
            return ()
        paths = [path_of(real) or self.nodes.path(real) for real in held]
        return tuple(sorted(paths, key=Path.order))


def _contents(buffers: Buffers, slots: Iterable[Slots | None]) -> dict[int, int]:
    wanted = tuple([slot for some in slots if some is not None for slot in some])
    return dict(zip(wanted, buffers.read_at(wanted), strict=True)) if wanted else {}
