"""Mamba: a state for a whole prefix, of which a request goes on with the last one alone.

A state is one slot, at the end of the node that it was computed for, and nothing of it can be cut
off: a split leaves it to the lower half, and a lookup may end only where there is one. A holder
holds the state of its own node and of no other. Definitions are of SGLang 0.5.23
(unified_cache/components/mamba.py); without an extra buffer, which tracked_mamba.py is about.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from hicache_model.components.auxiliary import Auxiliary
from hicache_model.components.component import Shared
from hicache_model.components.facts import DECISION, Facts
from hicache_model.components.values import facts

if TYPE_CHECKING:
    from hicache_model.notes import Running
    from hicache_model.tree import TreeNode


class Mamba(Auxiliary):
    """The component ``mamba``; its pool is counted in states."""

    def forget(self) -> None:
        super().forget()
        self.begins_now = False
        self.taken = 0  # by the request that begins

    def covered(self, node: TreeNode) -> int:
        return max(0, len(node.path.tokens) - 1)

    def split(self, upper: TreeNode) -> None:
        """The upper half is new to the component, but for the transfers that cover both."""
        (lower,) = upper.children.values()
        was = facts(lower)
        upper.component = Facts(written_by=was.written_by, loaded_by=was.loaded_by)

    # -- lookup and insert -------------------------------------------------------------------------

    def usable(self, visited: Sequence[TreeNode]) -> tuple[TreeNode, TreeNode]:
        return (
            _last(visited, lambda n: facts(n).on_device or facts(n).on_host),
            _last(visited, lambda n: n.on_device and facts(n).on_device),
        )

    def usable_length(self, on_path: Sequence[Shared], device: int) -> int:
        """A node that the path ends within is split there: its state is not on the path."""
        ends = [
            len(node.path.tokens)
            for node, shared in on_path
            if shared == node.length and node.on_device and facts(node).on_device
        ]
        return max(ends, default=0)

    def host_length(self, node: TreeNode) -> int:
        return self.total(self.missing(node))

    def looked_up(self, node: TreeNode) -> None:
        """The state that was found is as good as new; those above it are not needed for it."""
        if node.parent is not None and facts(node).on_device:
            facts(node).used = self.tick()

    def grown(self, leaf: TreeNode, freed: int) -> None:
        self.put(leaf)

    def inserted(self, node: TreeNode, new: bool) -> None:
        """What had no state gets the insert's; of two one is dropped. Both count as a use."""
        if new:
            return
        if facts(node).on_device:
            facts(node).used = self.tick()
        else:
            self.put(node)
        self.reference.tree.touch(node)

    # -- requests ----------------------------------------------------------------------------------

    def begins(self, node: TreeNode) -> None:
        """What was found on the device is copied to a state of the request's own at once."""
        self.begins_now = True
        if node.parent is not None and facts(node).on_device:
            self.reference.hold(node, DECISION)
            self._take()
            self.reference.let_go(node, DECISION)

    def _take(self) -> None:
        self.make_device_room(1)
        self.taken = 1

    def prepares_load(self, anchor: TreeNode) -> None:
        """A state that only the host has is loaded twice: for the tree and for the request."""
        if self.begins_now and not self.taken and self.missing(anchor):
            self._take()

    def load_called_off(self) -> None:
        self.taken = 0

    def takes_row(self) -> None:
        self.make_device_room(self.of_one_request() - self.taken)
        self.begins_now, self.taken = False, 0

    def of_one_request(self) -> int:
        """The slots that a running request has."""
        return 1

    def goes_on(self, running: Running) -> None:
        """The tree gets a copy, for which there is room before it is made."""
        self.make_device_room(1)

    def start_of(self, running: Running) -> int:
        return running.computed - 1

    def of_requests(self) -> int:
        return len(self.reference.requests) * self.of_one_request() + self.taken

    # -- memory and transfers ----------------------------------------------------------------------

    def tokens_of_room(self) -> int | None:
        return None if self.device_room() else 0

    def no_room(
        self, needed: int, on_path: Sequence[Shared], inserts: int, begins: bool = False
    ) -> str | None:
        """One for the tree each time that the request goes on, and its own when it begins."""
        return self.short_of(inserts + (self.of_one_request() if begins else 0), on_path)

    def lacks_backup(self, node: TreeNode) -> bool:
        """Under write_back a state waits for an eviction, in 0.5.22 too."""
        return not self.reference.write_back and super().lacks_backup(node)

    def unbacked(self, node: TreeNode) -> list[TreeNode]:
        return [node] if facts(node).on_device and not facts(node).on_host else []

    def missing(self, node: TreeNode) -> list[TreeNode]:
        if node.parent is None or facts(node).on_device or not facts(node).on_host:
            return []
        return [node]


def _last(visited: Sequence[TreeNode], has: Callable[[TreeNode], bool]) -> TreeNode:
    """The last of ``visited`` for which ``has`` holds; the first of them, the root, always may."""
    root, *nodes = visited
    return next((node for node in reversed(nodes) if has(node)), root)
