"""What every component with pools of its own does alike: room, evictions, transfers.

Nothing that follows from the facts is stored; trees in which it is looked at are small.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from hicache_model.components.component import Shared
from hicache_model.components.facts import Holder, Segment
from hicache_model.components.values import Values, facts
from hicache_model.snapshot import ComponentState, Path

if TYPE_CHECKING:
    from hicache_model.tree import TreeNode


class Auxiliary(Values, ABC):
    """A component with a pool of its own in each tier.

    A subclass also says what a lookup may use, what an insert brings, and what a backup and a load
    move.
    """

    @abstractmethod
    def unbacked(self, node: TreeNode) -> list[TreeNode]:
        """The nodes whose values a backup of ``node`` copies to the host."""

    # -- memory ------------------------------------------------------------------------------------

    def on_device(self) -> int:
        return self.total(node for node in self.nodes() if facts(node).on_device)

    def on_host(self) -> int:
        return self.total(node for node in self.nodes() if facts(node).on_host)

    def of_requests(self) -> int:
        """Slots of its own pool on the device that running requests have."""
        return 0

    def device_room(self) -> int:
        return self.reference.configuration.component_slots - self.on_device() - self.of_requests()

    def host_room(self) -> int:
        return self.reference.configuration.component_host_slots - self.on_host()

    def make_device_room(self, needed: int) -> None:
        """Evict what is missing to ``needed`` free slots on the device."""
        if self.device_room() < needed:
            self.evict_device(needed - self.device_room())

    def make_host_room(self, needed: int) -> None:
        """On the host all of ``needed`` is asked for where any of it is missing."""
        if self.host_room() < needed:
            self.evict_host(needed)

    def host_tokens(self, on_path: Sequence[Shared]) -> int:
        return self.total(n for n, _ in on_path if facts(n).on_host and not facts(n).on_device)

    def short_of(self, needed: int, on_path: Sequence[Shared]) -> str | None:
        """Why ``needed`` slots may not be had, and those of what is loaded; None where they can."""
        needed += self.host_tokens(on_path)
        stays = {node for node, _ in on_path} | self.reference.stuck()
        room = self.device_room() + self.total(
            node
            for node in self.nodes()
            if facts(node).on_device and not facts(node).lock_ref and node not in stays
        )
        if needed <= room:
            return None
        kind = self.reference.configuration.component
        return f"it may need {needed} slots of {kind} and {room} are free or can be freed"

    def evictable(self) -> int:
        return self.on_device() - self.held()

    def held(self) -> int:
        """Slots of its own pool on the device that somebody locks."""
        return self.total(n for n in self.nodes() if facts(n).on_device and facts(n).lock_ref)

    def evict_device(self, count: int) -> None:
        """In LRU order: a device leaf goes as a whole, any other node becomes a tombstone.

        Who comes next is settled before a victim goes, which may wait for writes that hold others.
        """
        reference, order = self.reference, iter(self.lru())
        goal = self.on_device() - count
        node = next((n for n in order if not facts(n).lock_ref), None)
        while node is not None and self.on_device() > goal:
            following = next((n for n in order if not facts(n).lock_ref), None)
            if node in reference.device_leaves():
                reference.evict_leaf(node)
            else:
                self._save(node)
                self.drop(node)
            node = following
        if self.on_device() > goal and reference.wait_for_writes():
            self.evict_device(self.on_device() - goal)

    def _save(self, node: TreeNode) -> None:
        """Under write_back what has no copy at all gets one first, where there is room."""
        if self.reference.write_back and not (node.on_host or facts(node).on_host):
            self.make_host_room(self.total(self.unbacked(node)))
            self.reference.write_back_now(node)

    def evict_host(self, count: int) -> None:
        """In LRU order: a host leaf goes as a whole, of any other node only the copy."""
        freed, leaves = 0, self.reference.host_leaves()
        for node in [node for node in self.host_lru() if not facts(node).host_lock]:
            if freed >= count:
                return
            freed += self.weight(node)
            if node in leaves:
                self.reference.remove(node)
                leaves = self.reference.host_leaves()
            else:
                self.drop_host(node)

    # -- transfers ---------------------------------------------------------------------------------

    def path_up(self, node: TreeNode) -> Iterator[TreeNode]:
        """``node`` and what is above it, without the root."""
        while node.parent is not None:
            yield node
            node = node.parent

    def lacks_backup(self, node: TreeNode) -> bool:
        return not facts(node).written_by and bool(self.unbacked(node))

    def is_written(self, node: TreeNode) -> bool:
        return facts(node).written_by is not None

    def back_up(self, node: TreeNode, waits: bool) -> bool:
        nodes = self.unbacked(node)
        needed = self.total(nodes)
        self.make_host_room(needed)
        if self.host_room() < needed:
            return False
        for member in nodes:
            facts(member).on_host = True
            self.reference.tree.changed.add(member)
        for member in () if waits else (node, *nodes):
            facts(member).written_by = node
        return True

    def written(self, node: TreeNode) -> list[TreeNode]:
        """The anchor and what it covers lie on one path, however they were split."""
        covered = [member for member in self.path_up(node) if facts(member).written_by is node]
        for member in covered:
            facts(member).written_by = None
        return covered

    def make_room(self, nodes: Sequence[TreeNode]) -> bool:
        needed = self.total(nodes)
        if self.device_room() < needed:
            self.evict_device(needed - self.device_room())
            self.reference.wait_for_writes()
        return self.device_room() >= needed

    def claimed(self, nodes: Sequence[TreeNode], anchor: TreeNode) -> bool:
        return any(facts(node).loaded_by not in (None, anchor) for node in nodes)

    def load(self, nodes: Sequence[TreeNode], anchor: TreeNode, chain: Sequence[TreeNode]) -> None:
        for node in nodes:
            self.put(node)
        for node in chain if self.reference.write_back else ():
            facts(node).loaded_by = anchor

    def loaded(self, anchor: TreeNode) -> None:
        for member in self.path_up(anchor):
            if facts(member).loaded_by is anchor:
                facts(member).loaded_by = None

    # -- what it shows -----------------------------------------------------------------------------

    def state(self) -> ComponentState:
        return ComponentState(
            evictable_size=self.evictable(),
            protected_size=self.held(),
            device_free=(0,) * (self.device_room() // self.reference.configuration.component_page),
            host_free=(0,) * self.host_room(),
            lru=_paths(self.lru()),
            host_lru=_paths(n for n in self.host_lru() if not facts(n).host_lock),
            locks=_held(self.locks),
            pins=_held(self.pins),
        )


def _held(held: dict[tuple[Holder, TreeNode], list[Segment]]) -> tuple[tuple[Path, int], ...]:
    """The end and the start of each segment, in their order."""
    found = [
        (s.node.path, s.start) for some in held.values() for s in some if s.node.parent is not None
    ]
    return tuple(sorted(found, key=lambda one: (one[0].order(), one[1])))


def _paths(nodes: Iterable[TreeNode]) -> tuple[Path, ...]:
    return tuple(node.path for node in nodes)
