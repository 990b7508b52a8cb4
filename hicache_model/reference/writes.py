"""Writes: copies from the device to the host, from the decision to the acknowledgement."""

from __future__ import annotations

from collections.abc import Iterable

from hicache_model import operations as ops
from hicache_model.components.facts import WRITE
from hicache_model.outcomes import Done, Outcome
from hicache_model.reference.facts import mark
from hicache_model.reference.host import HostEviction
from hicache_model.tree import TreeNode


class Writes(HostEviction):
    """Decides on backups, takes host room for them, starts and ends them."""

    # -- the decision ------------------------------------------------------------------------------

    def _count_hit(self, node: TreeNode) -> None:
        """Count a use; at the threshold back up, a child never before its parent."""
        if self.write_back and self.dialect.hits_under_write_back == "none":
            return
        node.hit_count += 1
        self.tree.changed.add(node)
        due = not self.write_back and (node.hit_count >= self.configuration.write_through_threshold)
        if due and not node.on_host:
            self._back_up(node)

    def _back_up(self, node: TreeNode) -> None:
        """Decide on the write of a node, after those of its ancestors that are not backed up."""
        above = self._without_copy_above(node)
        if not above or self.dialect.backup_of_orphan != "refused":
            self._write_all([*above, node])

    def _back_up_rest(self, node: TreeNode) -> None:
        """What a component has got since ``node`` was backed up is written too."""
        when = self.dialect.component_backup
        due = not self.write_back or when != "write_through"
        ready = due and node.on_host and node.transfer != "write"
        if not (ready and self.component.lacks_backup(node)):
            return
        above = self._without_copy_above(node) if when == "with_ancestors" else []
        if not self._write_all(above):
            return
        if not node.on_host:  # its copy made room for theirs
            self._write_all([node])
        elif self.component.lacks_backup(node) and self.component.back_up(node, waits=False):
            self._queue_write(node)

    def _without_copy_above(self, node: TreeNode) -> list[TreeNode]:
        """The ancestors up to the first that is backed up, from the top."""
        chain = []
        while node.parent is not None and not node.parent.on_host:
            node = node.parent
            chain.append(node)
        return chain[::-1]

    def _write_all(self, nodes: Iterable[TreeNode]) -> bool:
        """Queue the writes of nodes, as far as there is room for copies; whether there was."""
        for node in nodes:
            if not self._make_host_copy(node, waits=False):
                return False
            node.transfer = "write"
            self._queue_write(node)
        return True

    # -- the copy ----------------------------------------------------------------------------------

    def _make_host_copy(self, node: TreeNode, waits: bool) -> bool:
        """Take host room for a copy of ``node``, evicting host leaves when short."""
        free = self.host_free()
        if free < node.length:
            asks_first = self.dialect.backup_without_room == "evicts_nothing"
            if asks_first and free + self._reclaimable_on_host() < node.length:
                return False
            whole = self.dialect.host_room_asked == "request"
            self.evict_host(node.length if whole else node.length - free)
            if self.host_free() < node.length:
                return False
        if not self.component.back_up(node, waits):
            return False
        self._place(node, host=True)
        return True

    def write_back_now(self, node: TreeNode) -> None:
        """A copy of a node on the host, waited for, if there is room."""
        self.wait_for_writes()
        if self._make_host_copy(node, waits=True):
            self._note_duplicate(node)

    def _queue_write(self, node: TreeNode) -> None:
        self.hold(node, WRITE)
        self.queued_writes.append(node)
        if self.dialect.writes_start == "one_by_one":
            self._start_writes()

    def _start_writes(self) -> None:
        if self.queued_writes:
            self.writes.append(tuple(self.queued_writes))
            self.queued_writes = []

    def _complete_writes(self, count: int) -> None:
        for nodes in self.writes[:count]:
            for node in nodes:
                self.let_go(node, WRITE)
                mark(node, "write", None)
                for covered in self.component.written(node):
                    self._note_duplicate(covered)
        del self.writes[:count]

    def wait_for_writes(self) -> bool:
        """Under write_back an eviction waits for every write (only a component's are in flight).

        Whether there was any.
        """
        if not self.write_back or not (self.writes or self.queued_writes):
            return False
        self._start_writes()
        self._complete_writes(len(self.writes))
        return True

    def unfinished_writes(self) -> list[TreeNode]:
        """The nodes whose writes are not acknowledged, the oldest first."""
        return [*(node for nodes in self.writes for node in nodes), *self.queued_writes]

    # -- operations --------------------------------------------------------------------------------

    def _op_start_writes(self, op: ops.StartWrites | None = None) -> Outcome:
        self._start_writes()
        return Done()

    def _op_complete_writes(self, op: ops.CompleteWrites) -> Outcome:
        self._complete_writes(op.count)
        self._start_writes()
        return Done()
