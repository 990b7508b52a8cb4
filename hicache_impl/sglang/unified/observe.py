"""The complete state of a real UnifiedRadixCache with the Python core, without changing it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from hicache_impl.sglang.observe import Nodes, Observer, PathOf, Running, Seen, named, slots_of
from hicache_model.snapshot import Path, SavedRequest, Transfer

if TYPE_CHECKING:
    from hicache_impl.sglang.unified.calls import Calls

TICK = 100_000
"""A lookup gives a path times 0.00001 apart: as integers they keep their order."""


class UnifiedNodes(Nodes):
    """The nodes of one tree core. ``cache`` is the core here: it has the root and the kept sets."""

    def __init__(self, calls: Calls) -> None:
        super().__init__(calls)
        self.cache = calls.tree
        self._full, self._counters = int(calls.full), calls.ways.counters
        self._registered = calls.registered

    def look(self) -> None:
        """Walk the whole tree; a node that did not change keeps its projection."""
        device_leaves, host_leaves = self._kept_sets()
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
                if self._look_again(entry, real, device_leaf, host_leaf):
                    changed.append(entry)
                seen[real] = entry
                if real.children:
                    stack.append((real, entry.path))
        self._renew(moved or len(seen) != len(known), seen, changed)
        self._seen, self._members = seen, members
        self._doubles = twice + len(seen) - len(self.by_path)

    def strays(self) -> tuple[str, ...]:
        """Also nodes that are still found by their ids."""
        registered = self._registered()
        if len(registered) <= len(self._seen) + 1:
            return super().strays()
        gone = [n for n in registered if n not in self._seen and n is not self.cache.root_node]
        return (*super().strays(), *sorted(f"nodes by id: {self.path(real)}" for real in gone))

    def _kept_sets(self) -> tuple[Any, Any]:
        return self.cache.evictable_device_leaves, self.cache.evictable_host_leaves

    def _look_at(self, entry: Seen, real: Any) -> None:
        device_leaves, host_leaves = self._kept_sets()
        self._look_again(entry, real, real in device_leaves, real in host_leaves)

    def _look_again(self, entry: Seen, real: Any, device_leaf: bool, host_leaf: bool) -> bool:
        """Renew what ``entry`` shows if anything of the node changed; whether it did."""
        data = real.component_data[self._full]
        value, host_value = data.value, data.host_value
        state = (self._counters(real), data.lock_ref, data.host_lock_ref, device_leaf, host_leaf)
        if (
            state == entry.state
            and value is entry.value
            and host_value is entry.host_value
            and (value is None or value._version == entry.version)
            and (host_value is None or host_value._version == entry.host_version)
        ):
            return False
        entry.look(value, host_value, state, _in_order(*state))
        return True


def _in_order(
    counters: tuple[Any, ...], lock_ref: int, host_lock: int, device_leaf: bool, host_leaf: bool
) -> tuple[Any, ...]:
    """As ``Seen`` takes the state of a node."""
    last, hits, priority, creation, *reach = counters
    ticks = round(last * TICK)
    return ticks, lock_ref, host_lock, hits, priority, creation, device_leaf, host_leaf, *reach


class UnifiedObserver(Observer):
    """Looks at one cache. Pins are the driver's and those of loads in flight."""

    calls: Calls

    def __init__(self, calls: Calls, *args: Any, retracted: Mapping[int, Running]) -> None:
        super().__init__(calls, *args)
        self.retracted = retracted

    def _make_nodes(self) -> Nodes:
        return UnifiedNodes(self.calls)

    def _sizes(self) -> tuple[int, int, int, int]:
        tree = self.calls.tree
        return (
            tree.evictable_size(),
            tree.protected_size(),
            len(tree.evictable_device_leaves),
            len(tree.evictable_host_leaves),
        )

    def _free_on_device(self) -> tuple[Any, ...]:
        return self.calls.free_on_device()

    def _free_on_host(self) -> tuple[Any, ...]:
        return self.calls.free_on_host()

    # -- transfers

    def _transfers(self, path_of: PathOf) -> tuple[Transfer, ...]:
        """Started and queued writes, then started and queued loads, each in order."""
        controller = self.controller
        acks = (*controller.ack_write_queue, *controller.ack_load_queue)
        if not (acks or controller.write_queue or controller.load_queue):
            return ()
        self._copied = {ack.finish_event.marker: self._slots_of_copy(ack) for ack in acks}
        return (*self._writes(path_of), *self._loads(path_of))

    def _writes(self, path_of: PathOf) -> Iterator[Transfer]:
        for ack in self.controller.ack_write_queue:
            yield self._started("write", ack, map(self._written, ack.node_ids), path_of)
        for queued in self.controller.write_queue:
            nodes = map(self._written, queued.node_ids)
            yield self._waiting("write", queued, nodes, path_of)

    def _loads(self, path_of: PathOf) -> Iterator[Transfer]:
        for ack in self.controller.ack_load_queue:
            yield self._started("load", ack, map(self._loading, ack.node_ids), path_of)
        for queued in self.controller.load_queue:
            nodes = map(self._loading, queued.node_ids)
            yield self._waiting("load", queued, nodes, path_of)

    def _waiting(self, kind: str, queued: Any, nodes: Iterator[Any], path_of: PathOf) -> Transfer:
        anchors = tuple(map(path_of, nodes))
        device, host = slots_of(queued.device_indices), slots_of(queued.host_indices)
        published = self._published(queued.node_ids, path_of) if kind == "write" else None
        return Transfer(kind, False, anchors, device, host, published=published)

    def _to_publish(self, pending: Any) -> Any:
        handles = self.calls.published(pending)
        return None if handles is None else [self.calls.node_or_none(h) for h in handles]

    def _written(self, number: int) -> Any:
        return self._node_of(self.cache.ongoing_write_through.get(number))

    def _loading(self, number: int) -> Any:
        return self._node_of(self.cache.ongoing_load_back.get(number))

    def _node_of(self, ongoing: Any) -> Any:
        """The node that an ongoing transfer locks; None where there is no such node any more."""
        return None if ongoing is None else self.calls.node_or_none(ongoing[0])

    # -- requests and locks

    def _retracted(self) -> dict[int, SavedRequest]:
        return {number: _saved(waiting) for number, waiting in self.retracted.items()}

    def _anchor_of(self, req: Any) -> Any:
        return self.calls.node_or_none(req.last_node)

    def _locked(self) -> list[Any]:
        return [held.node for held in self.locks]

    def _pinned(self) -> list[Any]:
        ongoing = self.cache.ongoing_load_back
        if not (ongoing or self.host_locks):
            return []
        loads = [pin for load in ongoing.values() for pin in self.calls.pins_of_load(load)]
        return [n for held in (*self.host_locks, *loads) for n in self.calls.pinned_nodes(held)]


def _saved(waiting: Running) -> SavedRequest:
    kept = slots_of(waiting.req.kv.retraction_backup.host_indices)
    return SavedRequest(waiting.tokens, waiting.namespace, kept)
