"""Sliding window attention: KV of its own for each token, of which only a window is ever read.

A request that goes on after ``n`` tokens reads the component's KV of the last ``window`` of them,
so a lookup may end only where those are all there, and a holder needs no others. Definitions are of
SGLang 0.5.23 (unified_cache/components/swa.py), as its comments mean them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from hicache_model.components.auxiliary import Auxiliary
from hicache_model.components.component import Shared
from hicache_model.components.values import facts
from hicache_model.definitions import usable_length

if TYPE_CHECKING:
    from hicache_model.notes import Running
    from hicache_model.reference import Reference
    from hicache_model.snapshot import Path
    from hicache_model.tree import TreeNode


class SlidingWindow(Auxiliary):
    """The component ``swa``; ``window`` is in tokens."""

    def __init__(self, reference: Reference) -> None:
        self.window = reference.configuration.window
        super().__init__(reference)

    def up_from(self, node: TreeNode, tokens: int) -> Iterator[TreeNode]:
        """The nodes up from ``node`` that the last ``tokens`` tokens of its path lie in."""
        end = len(node.path.tokens)
        while node.parent is not None and end - len(node.path.tokens) < tokens:
            yield node
            node = node.parent

    def covered(self, node: TreeNode) -> int:
        return min((member.start for member in self.up_from(node, self.window)), default=0)

    # -- lookup ------------------------------------------------------------------------------------

    def usable(self, visited: Sequence[TreeNode]) -> tuple[TreeNode, TreeNode]:
        return (
            self._last(visited, lambda n: facts(n).on_device or facts(n).on_host),
            self._last(visited, lambda n: n.on_device and facts(n).on_device),
        )

    def _last(self, visited: Sequence[TreeNode], has: Callable[[TreeNode], bool]) -> TreeNode:
        """The last of ``visited`` whose window is whole: ``has`` holds for all nodes in it."""
        root, *nodes = visited
        found, gap = root, -self.window  # where the last gap ended: none before the first token
        for node in nodes:
            if not has(node):
                gap = len(node.path.tokens)
            elif len(node.path.tokens) - gap >= self.window:
                found = node
        return found

    def usable_length(self, on_path: Sequence[Shared], device: int) -> int:
        has = [facts(n).on_device and n.on_device for n, shared in on_path for _ in range(shared)]
        return usable_length(has, self.window)

    def host_length(self, node: TreeNode) -> int:
        return sum(member.length for member in self.missing(node))

    def looked_up(self, node: TreeNode) -> None:
        """The window, and a page more of it, is as good as new."""
        now = self.tick()
        for member in self.up_from(node, self.window + self.reference.page_size):
            if facts(member).on_device:
                facts(member).used = now

    # -- insert ------------------------------------------------------------------------------------

    def passed(self, node: TreeNode, freed: int, protected: int) -> None:
        if protected < len(node.path.tokens) and not facts(node).on_device:
            self._fill(node, freed)

    def _fill(self, node: TreeNode, freed: int) -> bool:
        """The insert's own KV becomes the node's, as far as there is any; whether there is."""
        if freed >= len(node.path.tokens):
            return False
        if freed > node.start:
            self.reference.tree.split(node, freed - node.start)
        self.put(node)
        return True

    def grown(self, leaf: TreeNode, freed: int) -> None:
        """A leaf is no longer than the window in whole pages: what is locked with it is no more."""
        if freed >= len(leaf.path.tokens):
            return
        if freed > leaf.start:
            self.reference.tree.split(leaf, freed - leaf.start)
        tail = self.reference.pages(self.window)
        if leaf.length > tail:
            self.put(self.reference.tree.split(leaf, leaf.length - tail))
        self.put(leaf)

    def inserted(self, node: TreeNode, new: bool) -> None:
        self.looked_up(node)

    # -- requests ----------------------------------------------------------------------------------

    def insert_length(self, running: Running) -> int:
        """To where the tree had full KV without a window, so that the next lookup may end there."""
        branch = running.branch
        if branch is None or branch <= running.protected:
            return running.computed
        needed = branch + self.reference.tree.unpaired
        return min(needed, running.computed)

    def goes_on(self, running: Running) -> None:
        self._give_back(running, self.insert_length(running) - self.reference.tree.unpaired - 1)

    def inserted_by(self, running: Running, path: Path) -> None:
        if running.branch is not None and len(path.tokens) == running.branch:
            running.branch = None
            if running.number in self.reference.requests:
                self._give_back(running, running.computed - self.reference.tree.unpaired - 1)

    def decodes(self, running: Running) -> None:
        if running.computed > running.prompt_length:
            self._give_back(running, running.computed)

    def _give_back(self, running: Running, reads: int) -> None:
        """The request gives back what lies before the window of the token at ``reads``.

        In whole pages, and so that what it inserts next ends with a whole window.
        """
        if reads - self.window < running.freed + 1:
            return
        running.freed = max(running.freed, running.protected)
        page = self.reference.page_size
        kept = max(self.window, page)
        if self.reference.dialect.window_kept == "whole_pages":
            kept = self.reference.pages(kept)
        whole = (reads - kept) // page * page
        running.freed = max(running.freed, whole)

    def start_of(self, running: Running) -> int:
        return max(running.freed, running.protected)

    def of_requests(self) -> int:
        pages = self.reference.pages
        running = self.reference.requests.values()
        return sum(pages(r.computed) - self.start_of(r) for r in running)

    # -- memory and transfers ----------------------------------------------------------------------

    def tokens_of_room(self) -> int:
        return self.device_room()

    def make_free(self, count: int) -> int:
        self.make_device_room(count)
        return self.device_room()

    def no_room(
        self, needed: int, on_path: Sequence[Shared], inserts: int, begins: bool = False
    ) -> str | None:
        return self.short_of(needed, on_path)

    def unbacked(self, node: TreeNode) -> list[TreeNode]:
        """Those of the window that only the device has, as far as nothing else writes them."""
        found = []
        for member in self.up_from(node, self.window):
            mine = facts(member)
            pending = mine.written_by or member.transfer == "write"
            if pending or not (mine.on_device or mine.on_host):
                break
            if not mine.on_host:
                found.append(member)
        return found

    def missing(self, node: TreeNode) -> list[TreeNode]:
        members = [*self.up_from(node, self.window)]
        return [member for member in reversed(members) if not facts(member).on_device]
