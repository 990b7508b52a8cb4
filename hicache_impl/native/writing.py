"""When the KV of a node is copied to the host: one class for each way.

``WriteThrough`` copies what was used often enough and lets eviction drop the rest; ``WriteBack``
copies what is evicted.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Protocol

from hicache_impl.native.pools import Slots
from hicache_impl.native.transfer import Transfer
from hicache_impl.native.tree import TreeNode

if TYPE_CHECKING:
    from hicache_impl.native.eviction import HostEviction
    from hicache_impl.native.parts import Parts


class Write:
    """A copy to the host in flight; ``node`` is locked until it is acknowledged."""

    __slots__ = ("device", "host", "node", "transfer")

    def __init__(self, node: TreeNode, device: Slots, host: Slots, transfer: Transfer) -> None:
        self.node, self.device, self.host, self.transfer = node, device, host, transfer


class Writer(Protocol):
    """What the cache asks of a way of writing: ``pending`` writes, and victims that are ``staged``,
    still on the device until their copies are made.
    """

    pending: deque[Write]
    staged: dict[TreeNode, Write]

    def count_hit(self, node: TreeNode, chunked: bool) -> None:
        """An insert met or made this node; ``chunked`` where its prompt is not complete."""

    def stage(self, victim: TreeNode) -> bool:
        """Start a copy of a victim that has none; False where there will be none."""

    def finish_staged(self) -> list[TreeNode]:
        """Wait for the copies of the staged victims, which are staged no longer."""

    def acknowledge(self, count: int) -> None:
        """Wait for the oldest ``count`` pending writes, and unlock their nodes."""

    def clear(self) -> None:
        """As constructed."""


class _Copies:
    """Takes host room and issues copies."""

    def __init__(self, parts: Parts, eviction: HostEviction) -> None:
        self.parts, self.eviction = parts, eviction
        self.clear()

    def clear(self) -> None:
        self.pending: deque[Write] = deque()
        self.staged: dict[TreeNode, Write] = {}

    def host_room(self, count: int) -> Slots | None:
        """``count`` host slots, evicting host leaves where too few are free; None without."""
        pool = self.parts.host_pool
        if pool.available < count:
            self.eviction.evict(count)
        return pool.alloc(count)

    def copy(self, node: TreeNode) -> Write | None:
        """Issue a copy of a node to the host; None, and nothing done, where there is no room."""
        assert node.device is not None
        host = self.host_room(len(node.key))
        if host is None:
            return None
        node.host = host
        transfer = self.parts.engine.write(node.device, host)
        return Write(node, node.device, host, transfer)

    def acknowledge(self, count: int) -> None:
        """Wait for the oldest ``count`` writes; their nodes may be evicted again."""
        for _ in range(min(count, len(self.pending))):
            write = self.pending.popleft()
            write.transfer.wait()
            self.parts.upkeep.unlock(write.node)


class WriteThrough(_Copies):
    """Copies at the hit that reaches the threshold, a child never before its parent."""

    def count_hit(self, node: TreeNode, chunked: bool) -> None:
        if chunked:
            return
        node.hit_count += 1
        if self.is_due(node):
            self.back_up(node)

    def is_due(self, node: TreeNode) -> bool:
        often = node.hit_count >= self.parts.settings.hits_before_backup
        return often and not node.backed_up and node.above.backed_up

    def back_up(self, node: TreeNode) -> None:
        """Start the copy; the node stays on the device until it is acknowledged."""
        write = self.copy(node)
        if write is not None:
            self.pending.append(write)
            self.parts.upkeep.lock(node)

    def stage(self, victim: TreeNode) -> bool:
        """What was not worth a copy before is not worth one now."""
        return False

    def finish_staged(self) -> list[TreeNode]:
        return []


class WriteBack(_Copies):
    """Copies at eviction."""

    def count_hit(self, node: TreeNode, chunked: bool) -> None:
        """Hits decide on nothing here."""

    def stage(self, victim: TreeNode) -> bool:
        write = self.copy(victim)
        if write is None:
            return False
        self.staged[victim] = write
        return True

    def finish_staged(self) -> list[TreeNode]:
        finished = list(self.staged)
        for write in self.staged.values():
            write.transfer.wait()
        self.staged.clear()
        return finished
