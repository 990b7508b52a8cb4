"""What a component beside full attention has in a UnifiedRadixCache, with either core.

It is looked at afresh each time: only configurations with such a component come here. The Rust core
shows neither locks nor lists, and a host copy only where it is the only value.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TypeAlias

import attrs

from hicache_impl.sglang.observe import Buffers, PathOf, Seen, slots_of
from hicache_impl.sglang.unified.observe import UnifiedNodes, UnifiedObserver
from hicache_impl.sglang.unified.rust import RustCalls, RustNodes, RustObserver
from hicache_model.snapshot import (
    ComponentState,
    Node,
    NodeComponent,
    Path,
    Request,
    Slots,
    Snapshot,
    Transfer,
)

if TYPE_CHECKING:
    from hicache_impl.sglang.build import ComponentParts
    from hicache_impl.sglang.unified.calls import Calls

Segments: TypeAlias = tuple[tuple[Path, int], ...]
"""As ComponentState shows what is held."""

Receipts: TypeAlias = Iterator[tuple[Any, Any]]
"""Nodes that are held, and the receipts that give them back."""


class ComponentNodes(UnifiedNodes):
    """As UnifiedNodes, with the component's part of each node."""

    def __init__(self, calls: Calls) -> None:
        super().__init__(calls)
        self._kind = _component(calls).kind

    def _look_again(self, entry: Seen, real: Any, device_leaf: bool, host_leaf: bool) -> bool:
        known = entry.node.component if entry.state else None
        changed = super()._look_again(entry, real, device_leaf, host_leaf)
        data = real.component_data[self._kind]
        now = NodeComponent(
            _slots(data.value), _slots(data.host_value), data.lock_ref, data.host_lock_ref
        )
        if not changed and now == known:
            return False
        entry.node = attrs.evolve(entry.node, component=now)
        return True


class WithComponent(UnifiedObserver):
    """As the observer that it is mixed into, with the component's pools and transfers."""

    def __init__(self, calls: Calls, *args: Any, **more: Any) -> None:
        super().__init__(calls, *args, **more)
        self.parts = _component(calls)
        keys, values = self.parts.device_kv
        self._addresses = {buffer.data_ptr() for buffer in (*keys, *values)}
        self.component_kv = Buffers(keys, values)
        self.component_host_kv = Buffers(*self.parts.host_kv)

    def observe(self, fresh: bool = False) -> Snapshot:
        return attrs.evolve(super().observe(fresh), component=self._state(self.nodes.path_of))

    def observe_at(self, paths: Any) -> Snapshot:
        seen = super().observe_at(paths)
        return attrs.evolve(seen, component=self._state(self.nodes.path_if_attached))

    def _state(self, path_of: PathOf) -> ComponentState:
        """Without its lists and holders."""
        tree, kind, parts = self.calls.tree, self.parts.kind, self.parts
        free = self.calls.free_of_component()
        return ComponentState(
            evictable_size=tree.component_evictable_size(kind),
            protected_size=tree.component_protected_size(kind),
            device_free=tuple(slot for some in free for slot in some.tolist()),
            host_free=tuple(
                slot for some in self.calls.free_of_host(parts.host_pool) for slot in some.tolist()
            ),
            lru=(),
            host_lru=(),
            mapping=() if parts.has_states else parts.mapping.tolist()[:-1],
            device_kv=self.component_kv.read(True),
            host_kv=self.component_host_kv.read(True),
        )

    # -- requests and transfers

    def _request(self, number: int, request: Any, path_of: PathOf) -> Request:
        seen = super()._request(number, request, path_of)
        if self.parts.has_states:
            return _with_states(seen, request.req.kv)
        start = max(seen.protected, request.req.kv.get_evicted_seqlen(self.parts.kind))
        mapping = self.parts.mapping
        own = tuple(int(mapping[slot]) for slot in seen.row[start:])
        return attrs.evolve(
            seen, component_start=start, component_row=own, component_read=request.window_read
        )

    def _started(self, kind: str, ack: Any, nodes: Any, path_of: PathOf) -> Transfer:
        copied = self._copy_of(ack, component=True)
        device, host = copied if kind == "write" else reversed(copied)
        if kind == "load" and self.parts.has_states:
            device, host = _of_nodes(device, host)
        seen = super()._started(kind, ack, nodes, path_of)
        return attrs.evolve(seen, component_device=device, component_host=host)

    def _waiting(self, kind: str, queued: Any, nodes: Any, path_of: PathOf) -> Transfer:
        seen = super()._waiting(kind, queued, nodes, path_of)
        own = [t for t in queued.pool_transfers or () if t.name.value == self.parts.pool]
        device = tuple(slot for t in own for slot in t.device_indices.tolist())
        host = tuple(slot for t in own for slot in t.host_indices.tolist())
        if kind == "load" and self.parts.has_states:
            device, host = _of_nodes(device, host)
        return attrs.evolve(seen, component_device=device, component_host=host)

    def _slots_of_copy(self, ack: Any) -> tuple[Slots, Slots]:
        return self._copied.get(ack.finish_event.marker) or self._copy_of(ack, component=False)

    def _copy_of(self, ack: Any, component: bool) -> tuple[Slots, Slots]:
        """Source and target of one layer's copy of the component, or of the full KV; or of none."""
        for copy in ack.finish_event.marker.copies:
            if copy.buffers.isdisjoint(self._addresses) != component:
                return slots_of(copy.source_slots), slots_of(copy.target_slots)
        return (), ()


class ComponentObserver(WithComponent):
    """Looks at a cache with the Python core."""

    def _make_nodes(self) -> ComponentNodes:
        return ComponentNodes(self.calls)

    def _state(self, path_of: PathOf) -> ComponentState:
        tree, kind = self.calls.tree, self.parts.kind
        return attrs.evolve(
            super()._state(path_of),
            lru=self._listed(tree.lru_lists[kind], path_of),
            host_lru=self._listed(tree.host_lru_lists[kind], path_of, pinned=False),
            locks=self._segments(self._lock_receipts(), path_of, host=False),
            pins=self._segments(self._pin_receipts(), path_of, host=True),
        )

    def _listed(self, kept: Any, path_of: PathOf, pinned: bool = True) -> tuple[Path, ...]:
        """The members of an LRU list, the least recently used first."""
        found, real = [], kept.tail.lru_prev[kept._pt]
        while real is not kept.head:
            if pinned or not real.component_data[self.parts.kind].host_lock_ref:
                found.append(path_of(real) or self.nodes.path(real))
            real = real.lru_prev[kept._pt]
        return tuple(found)

    # -- holders

    def _lock_receipts(self) -> Receipts:
        for held in self.locks:
            yield self.calls.node(held.handle), held.receipt
        for request in self.running.values():
            locked = self.calls.ways.held_by(request.req)
            if locked is not None:
                yield self.calls.node(locked[0]), locked[1]
        for ongoing in self.cache.ongoing_write_through.values():
            if ongoing[1] is not None:
                yield self.calls.node_or_none(ongoing[0]), ongoing[1]
        for ongoing in self.cache.ongoing_load_back.values():
            yield self.calls.node_or_none(ongoing[0]), ongoing[1]

    def _pin_receipts(self) -> Receipts:
        ongoing = self.cache.ongoing_load_back.values()
        loads = (pin for load in ongoing for pin in self.calls.pins_of_load(load))
        for held in (*self.host_locks, *loads):
            yield self.calls.node_or_none(held.handle), held.receipt

    def _segments(self, held: Receipts, path_of: PathOf, host: bool) -> Segments:
        """Of each holder: the last node, and where what it holds begins."""
        found = []
        for node, receipt in held:
            path = path_of(node)
            if path is not None:
                found.append((path, self._start(node, path, receipt, host)))
        return tuple(sorted(found, key=lambda one: (*one[0].order(), one[1])))

    def _start(self, node: Any, path: Path, receipt: Any, host: bool) -> int:
        """Of a state its own end; a receipt without a mark at the boundary reaches to the root."""
        if self.parts.has_states:
            return len(path.tokens) - 1
        mark = receipt.get_lock_uuid(self.parts.kind, lock_host=host)
        start, name = len(path.tokens), "host_uuid" if host else "uuid"
        while node is not self.calls.tree.root_node:
            start -= len(node.key)
            if mark and node.component_data[self.parts.kind].metadata.get(name) == mark:
                break
            node = node.parent
        return start


class RustComponentNodes(RustNodes):
    """As RustNodes, with what is shown of the component."""

    def __init__(self, calls: RustCalls) -> None:
        super().__init__(calls)
        self._kind = _component(calls).kind

    def _project(self, number: int, path: Path, before: Node | None) -> Node:
        node, tree = super()._project(number, path, None), self.names.core
        value = tree.get_component_device_value(number, self._kind)
        alone = tree.component_has_host_value_only(number, self._kind)
        own = NodeComponent(_slots(value), () if alone else None, 0, 0)
        node = attrs.evolve(node, component=own)
        return before if before is not None and before == node else node


class RustComponentObserver(WithComponent, RustObserver):
    """Looks at a cache with the Rust core."""

    calls: RustCalls

    def _make_nodes(self) -> RustComponentNodes:
        return RustComponentNodes(self.calls)


def _component(calls: Calls) -> ComponentParts:
    assert calls.parts.component is not None
    return calls.parts.component


def _with_states(seen: Request, kv: Any) -> Request:
    """The state that it computes on first, then the one that it keeps for the tree."""
    row = [int(kv.mamba_pool_idx)]
    if kv.mamba_ping_pong_track_buffer is not None:
        buffer = kv.mamba_ping_pong_track_buffer.tolist()
        row += [buffer.pop(kv.mamba_last_track_idx), *buffer]
    return attrs.evolve(
        seen,
        component_start=seen.computed - 1,
        component_row=tuple(row),
        component_tracked=kv.mamba_last_track_seqlen or 0,
    )


def _of_nodes(device: Slots, host: Slots) -> tuple[Slots, Slots]:
    """Of a load of states without the second copy of each, which is a request's.

    Who computes on it has waited for it; its acknowledgement means nothing to the request.
    """
    first: dict[int, int] = {}
    for target, source in zip(device, host, strict=True):
        first.setdefault(source, target)
    return tuple(first.values()), tuple(first)


def _slots(tensor: Any) -> Slots | None:
    return None if tensor is None else slots_of(tensor)
