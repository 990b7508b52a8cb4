"""What the reference shows of itself, in the words of a snapshot."""

from __future__ import annotations

from collections.abc import Iterator

from hicache_model.notes import Running
from hicache_model.reference.retraction import Retraction
from hicache_model.snapshot import Node, Path, Request, SavedRequest, Snapshot, Transfer
from hicache_model.tree import TreeNode


class Shown(Retraction):
    """Changes nothing."""

    def snapshot(self) -> Snapshot:
        """The whole predicted state, without slots and bytes."""
        evictable, protected = self.sizes()
        locks, host_locks = self.held_paths()
        return Snapshot(
            nodes={path: self.view(node) for path, node in self.tree.by_path.items()},
            evictable_size=evictable,
            protected_size=protected,
            device_leaf_count=len(self._device_leaves),
            host_leaf_count=len(self._host_leaves),
            device_free=(0,) * (self.device_free() // self.page_size),
            host_free=(0,) * self.host_free(),
            transfers=self.transfers(),
            requests=self.request_views(),
            retracted=self.retracted_views(),
            locks=locks,
            host_locks=host_locks,
            component=self.component.state(),
        )

    def view(self, node: TreeNode) -> Node:
        """The node as a snapshot shows it; ``()`` stands for slots that only the cache knows."""
        self.settle()
        return Node(
            node.path,
            node.length,
            () if node.on_device else None,
            () if node.on_host else None,
            node.lock_ref,
            node.host_lock,
            node in self._device_leaves,
            node in self._host_leaves,
            node.hit_count,
            node.priority,
            node.last_access,
            node.creation,
            node.reach,
            self.component.view(node),
        )

    def transfers(self) -> tuple[Transfer, ...]:
        return tuple(self._transfers())

    def _transfers(self) -> Iterator[Transfer]:
        for nodes in self.writes:
            yield Transfer("write", True, tuple(node.path for node in nodes))
        for node in self.queued_writes:
            yield Transfer("write", False, (node.path,))
        for nodes in self.started_loads:
            yield Transfer("load", True, tuple(node.path for node in nodes))
        for node in self.queued_loads:
            yield Transfer("load", False, (node.path,))

    def in_flight(self) -> bool:
        return bool(self.queued_writes or self.writes or self.queued_loads or self.started_loads)

    def held_paths(self) -> tuple[tuple[Path, ...], tuple[Path, ...]]:
        """The nodes that are locked by Lock, and whose host copies are pinned, with repetition.

        In order of their paths.
        """
        pins = (*self.host_locks, *self.load_pins.values())
        pinned = [node for pin in pins for node in self.covered(pin)]
        locks, host_locks = (
            tuple(sorted((node.path for node in nodes), key=Path.order))
            for nodes in (self.locks, pinned)
        )
        return locks, host_locks

    def request_views(self) -> dict[int, Request]:
        return {number: self._request_view(r) for number, r in self.requests.items()}

    def retracted_views(self) -> dict[int, SavedRequest]:
        return {
            number: SavedRequest(waiting.tokens, waiting.namespace)
            for number, waiting in self.retracted.items()
        }

    def _request_view(self, running: Running) -> Request:
        anchor = None if running.anchor is self.tree.root else running.anchor
        return Request(
            running.tokens,
            running.namespace,
            running.computed,
            running.protected,
            anchor.path if anchor else None,
            component_start=self.component.start_of(running),
            component_tracked=running.tracked or 0,
        )
