"""What every component with values of its own does alike: facts at nodes, LRU order, holders.

Nothing that follows from the facts is stored; trees in which it is looked at are small.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import TYPE_CHECKING

from hicache_model.components.component import Component
from hicache_model.components.facts import Facts, Holder, Segment
from hicache_model.snapshot import NodeComponent

if TYPE_CHECKING:
    from hicache_model.tree import TreeNode


def facts(node: TreeNode) -> Facts:
    """Those of the component at ``node``."""
    assert node.component is not None
    return node.component


class Values(Component, ABC):
    """A component with values at nodes, in either tier, which is used and held.

    A subclass says which part of a path a holder holds (``covered``). ``weight`` is how many slots
    a value takes.
    """

    def forget(self) -> None:
        self.clock = 0
        self.locks: dict[tuple[Holder, TreeNode], list[Segment]] = {}
        self.pins: dict[tuple[Holder, TreeNode], list[Segment]] = {}

    @abstractmethod
    def covered(self, node: TreeNode) -> int:
        """Where the part of the path begins that a holder of ``node`` holds."""

    def weight(self, node: TreeNode) -> int:
        return self.reference.configuration.component_weight(node.length)

    def total(self, nodes: Iterable[TreeNode]) -> int:
        """The slots that the values of ``nodes`` take."""
        return sum(map(self.weight, nodes))

    # -- nodes and their order ---------------------------------------------------------------------

    def nodes(self) -> Iterable[TreeNode]:
        return self.reference.tree.by_path.values()

    def tick(self) -> int:
        self.clock += 1
        return self.clock

    def added(self, node: TreeNode) -> None:
        node.component = Facts()

    def split(self, upper: TreeNode) -> None:
        """Both halves have what the node had; the upper one is the older of the two."""
        (lower,) = upper.children.values()
        was = facts(lower)
        upper.component = Facts(
            was.on_device,
            was.on_host,
            was.lock_ref,
            was.host_lock,
            was.used,
            0 if was.host_lock else was.host_used,
            was.written_by,
            was.loaded_by,
        )

    def put(self, node: TreeNode) -> None:
        """The node has a value on the device now, the newest of all."""
        mine = facts(node)
        mine.on_device, mine.used, mine.host_used = True, self.tick(), 0
        self.reference.tree.changed.add(node)

    def drop(self, node: TreeNode) -> None:
        """The value on the device goes; a host copy is the newest of those that are left alone."""
        mine = facts(node)
        if mine.on_device:
            mine.on_device = False
            mine.host_used = self.tick() if mine.on_host else 0
            self.reference.tree.changed.add(node)

    def drop_host(self, node: TreeNode) -> None:
        facts(node).on_host, facts(node).host_used = False, 0
        self.reference.tree.changed.add(node)

    def left_device(self, node: TreeNode) -> None:
        """Whatever is left of it on the host is listed there from now on, if pinned or not."""
        self.drop(node)
        mine = facts(node)
        if mine.on_host and not mine.host_used:
            mine.host_used = self.tick()

    def lru(self) -> list[TreeNode]:
        """The nodes with a value on the device, the least recently used first."""
        members = [node for node in self.nodes() if facts(node).on_device]
        return sorted(members, key=lambda node: (facts(node).used, len(node.path.tokens)))

    def host_lru(self) -> list[TreeNode]:
        """The nodes whose value only the host has, the least recently used first."""
        members = [node for node in self.nodes() if facts(node).host_used]
        return sorted(members, key=lambda node: (facts(node).host_used, len(node.path.tokens)))

    # -- holders -----------------------------------------------------------------------------------

    def hold(self, node: TreeNode, holder: Holder) -> None:
        segment = Segment(node, self.covered(node))
        self.locks.setdefault((holder, node), []).append(segment)
        for member in segment.nodes():
            facts(member).lock_ref += 1
            self.reference.tree.changed.add(member)

    def release(self, node: TreeNode, holder: Holder) -> None:
        for member in _oldest(self.locks, holder, node).nodes():
            facts(member).lock_ref -= 1
            self.reference.tree.changed.add(member)

    def pin(self, node: TreeNode, holder: Holder) -> None:
        segment = Segment(node, self.covered(node))
        self.pins.setdefault((holder, node), []).append(segment)
        for member in segment.nodes():
            mine = facts(member)
            if not mine.host_lock:
                mine.host_used = 0
            mine.host_lock += 1
            self.reference.tree.changed.add(member)

    def unpin(self, node: TreeNode, holder: Holder) -> None:
        for member in _oldest(self.pins, holder, node).nodes():
            mine = facts(member)
            mine.host_lock -= 1
            alone = mine.on_host and not mine.on_device
            if not mine.host_lock and alone and not mine.host_used:
                mine.host_used = self.tick()
            self.reference.tree.changed.add(member)

    # -- what it shows -----------------------------------------------------------------------------

    def view(self, node: TreeNode) -> NodeComponent:
        mine = facts(node)
        return NodeComponent(
            () if mine.on_device else None,
            () if mine.on_host else None,
            mine.lock_ref,
            mine.host_lock,
        )

    def key(self, node: TreeNode) -> object:
        mine = facts(node)
        return (
            *(mine.on_device, mine.on_host, mine.lock_ref, mine.host_lock, bool(mine.host_used)),
            mine.written_by and mine.written_by.path,
            mine.loaded_by and mine.loaded_by.path,
        )


def _oldest(
    held: dict[tuple[Holder, TreeNode], list[Segment]], holder: Holder, node: TreeNode
) -> Segment:
    segments = held[holder, node]
    segment = segments.pop(0)
    if not segments:
        del held[holder, node]
    return segment
