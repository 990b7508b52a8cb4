"""Bringing back to the device what is only on the host: all of it or nothing."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from hicache_impl.native.pools import Slots, joined, slots_of
from hicache_impl.native.transfer import Transfer
from hicache_impl.native.tree import TreeNode

if TYPE_CHECKING:
    from hicache_impl.native.eviction import DeviceEviction
    from hicache_impl.native.parts import Parts


class QueuedLoad:
    """Nodes that have device slots and wait for their bytes; ``node`` is the lowest, and locked."""

    __slots__ = ("device", "host", "node")

    def __init__(self, node: TreeNode, device: Slots, host: Slots) -> None:
        self.node, self.device, self.host = node, device, host


class Load:
    """A transfer in flight, for all the loads that were queued when it was started."""

    __slots__ = ("device", "host", "nodes", "transfer")

    def __init__(self, queued: list[QueuedLoad]) -> None:
        self.nodes = [load.node for load in queued]
        self.device = joined([load.device for load in queued])
        self.host = joined([load.host for load in queued])
        self.transfer: Transfer

    def wait_layer(self, layer: int) -> None:
        """What the device computes next sees this layer of the loaded KV."""
        self.transfer.wait_layer(layer)


class Loads:
    """``queued`` loads, and those ``started``, oldest first."""

    def __init__(self, parts: Parts, eviction: DeviceEviction) -> None:
        self.parts, self.eviction = parts, eviction
        self.clear()

    def clear(self) -> None:
        self.queued: list[QueuedLoad] = []
        self.started: deque[Load] = deque()

    def load_back(self, node: TreeNode, quota: int | None) -> Slots:
        """Queue the load of ``node`` and the evicted nodes above it; their slots, none if refused.

        ``quota`` is how many device tokens may be taken, those that are protected for the sake of
        this load included; None for no limit.
        """
        chain = self.evicted_chain(node)
        slots = self.guarded_room(chain, quota)
        if slots is None:
            return slots_of(())
        self.place(chain, slots)
        host = joined([member.host for member in chain if member.host is not None])
        self.queued.append(QueuedLoad(node, slots, host))
        self.parts.upkeep.lock(node)
        return slots

    def evicted_chain(self, node: TreeNode) -> list[TreeNode]:
        """The evicted nodes from the top down to ``node``."""
        chain = []
        while node.evicted:
            chain.append(node)
            node = node.above
        return chain[::-1]

    def guarded_room(self, chain: list[TreeNode], quota: int | None) -> Slots | None:
        """Device slots for the chain, which nothing may evict meanwhile from either tier."""
        upkeep, anchor = self.parts.upkeep, chain[0].above
        protected = upkeep.lock(anchor)
        for member in chain:
            upkeep.pin(member)
        total = sum([len(member.key) for member in chain])
        wanted = self.is_worth_it(total) and (quota is None or total + protected <= quota)
        slots = self.device_room(total) if wanted else None
        upkeep.unlock(anchor)
        for member in chain:
            upkeep.unpin(member)
        return slots

    def is_worth_it(self, total: int) -> bool:
        return total >= self.parts.settings.load_back_threshold

    def device_room(self, total: int) -> Slots | None:
        """``total`` device slots, evicting where too few are free; None without."""
        pool = self.parts.device_pool
        if pool.available < total:
            self.eviction.evict(total)
        return pool.alloc(total)

    def place(self, chain: list[TreeNode], slots: Slots) -> None:
        """Give the nodes of the chain their slots, from the top."""
        start = 0
        for member in chain:
            end = start + len(member.key)
            member.device = slots[start:end]
            self.parts.upkeep.arrived(member)
            start = end

    def start(self) -> Load | None:
        """Start all queued loads as one transfer; None where there are none."""
        if not self.queued:
            return None
        load = Load(self.queued)
        load.transfer = self.parts.engine.load(load.device, load.host)
        self.queued = []
        self.started.append(load)
        return load

    def acknowledge(self, count: int) -> None:
        """Wait for the oldest ``count`` transfers; their nodes may be evicted again."""
        for _ in range(min(count, len(self.started))):
            load = self.started.popleft()
            load.transfer.wait()
            for node in load.nodes:
                self.parts.upkeep.unlock(node)
