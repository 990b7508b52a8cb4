"""Lookup and insert: the two walks down the tree."""

from __future__ import annotations

from hicache_model import operations as ops
from hicache_model.notes import Found
from hicache_model.outcomes import Done, Inserted, Matched, Outcome
from hicache_model.reference.eviction import DeviceEviction
from hicache_model.snapshot import Path


class Lookup(DeviceEviction):
    """Both refresh what they pass, and split the node in which they end."""

    def _op_match(self, op: ops.Match) -> Outcome:
        found = self._find(self.tree.whole_pages(op.namespace, op.tokens))
        return Matched(found.device, found.host, component_host_length=found.component_host)

    def _find(self, path: Path) -> Found:
        """Look ``path`` up: what is found is refreshed, and a node split where it ends."""
        visited = [self.tree.root]
        if path.tokens:
            self.tree.touch(self.tree.root)
        visited += self.tree.walk(path, touching=self.dialect.lookup_refreshes == "whole_node")
        node, on_device = self.component.usable(visited)
        if path.tokens and self.dialect.lookup_refreshes == "path_afterwards":
            self.component.looked_up(node)
            self.tree.refresh_path(node)
        host, above = 0, node
        while above is not on_device:
            host += above.length if above.on_host else 0
            assert above.parent is not None
            above = above.parent
        beside = self.component.host_length(node)
        return Found(node, on_device, host, beside, len(visited[-1].path.tokens))

    def _op_touch(self, op: ops.Touch) -> Outcome:
        self._find(self.tree.whole_pages(op.namespace, op.tokens))
        return Done()

    def _op_insert(self, op: ops.Insert) -> Outcome:
        path = self.tree.whole_pages(op.namespace, op.tokens)
        counted = len(path.tokens) if op.chunked else 0
        return Inserted(self._insert_path(path, op.priority, counted))

    def _insert_path(
        self, path: Path, priority: int, counted: int, freed: int = 0, protected: int = 0
    ) -> int:
        """Give the KV of ``path`` to the tree; returns how much of it was in the tree already.

        Nodes that end within the first ``counted`` tokens have counted this use before. ``freed``
        and ``protected``: see Component.passed.
        """
        already, node, revived_count = 0, self.tree.root, self.dialect.revived_counts == "yes"
        if self.dialect.insert_priority_reaches == "nothing":
            priority = 0
        for node in self.tree.walk(path, priority):
            revived = not node.on_device
            if not revived or self.dialect.insert_answers == "matched":
                already += node.length
            if revived:
                self._place(node, device=True)
                self._note_duplicate(node)
            self.component.passed(node, freed, 0 if revived else protected)
            if len(node.path.tokens) > counted and (revived_count or not revived):
                self._count_hit(node)
        if len(node.path.tokens) < len(path.tokens):
            node = self.tree.add(node, path, priority)
            self.component.added(node)
            self.component.grown(node, freed)
            self.component.inserted(node, new=True)
            if len(path.tokens) > counted:
                self._count_hit(node)
        elif path.tokens:
            self.component.inserted(node, new=False)
            self._back_up_rest(node)
        return already
