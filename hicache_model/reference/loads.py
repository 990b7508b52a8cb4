"""Loads: copies from the host back to the device, from the decision to the acknowledgement."""

from __future__ import annotations

from hicache_model import operations as ops
from hicache_model.components.facts import DECISION, LOAD
from hicache_model.notes import Found
from hicache_model.outcomes import Done, LoadedBack, LoadsStarted, Outcome
from hicache_model.reference.facts import mark
from hicache_model.reference.locks import Locks
from hicache_model.tree import TreeNode

STARTED_LOADS = 3  # HiCacheController's LayerDoneCounter has three producers


class Loads(Locks):
    """Decides on loads, takes device room for them, starts and ends them."""

    def _op_load_back(self, op: ops.LoadBack) -> Outcome:
        found = self._find(self.tree.whole_pages(op.namespace, op.tokens))
        return LoadedBack(self._load_found(found, op.quota))

    def _load_found(self, found: Found, quota: int | None = None) -> int:
        """Load what a lookup found on the host only; how many tokens more can be used then."""
        lacks = bool(found.host or found.component_host)
        return found.beyond if lacks and self._load_back(found.node, quota) else 0

    def _load_back(self, anchor: TreeNode, quota: int | None = None) -> bool:
        """Queue the load of what lacks up from ``anchor`` on the device: all or nothing."""
        chain, node = [], anchor
        while not node.on_device:
            chain.append(node)
            assert node.parent is not None
            node = node.parent
        total, beside = sum(member.length for member in chain), self.component.missing(anchor)
        pinned = chain or [anchor] if self.write_back or anchor.on_host else []
        evictable = self.sizes()[0]
        self.hold(anchor, DECISION)
        newly_protected = evictable - self.sizes()[0]
        self._pin(pinned, 1)
        self.component.pin(anchor, DECISION)
        self.component.prepares_load(anchor)
        loaded = (total >= self.configuration.load_back_threshold or bool(beside)) and (
            quota is None or total <= quota - newly_protected
        )
        loaded = loaded and not self.component.claimed(beside, anchor)
        free = self.device_free()
        if loaded and free < total:
            whole = self.dialect.load_back_evicts == "request"
            self.evict_device(total if whole else total - free)
            self.wait_for_writes()
            loaded = self.device_free() >= total
        if loaded and beside:
            loaded = self.component.make_room(beside)
        self.let_go(anchor, DECISION)
        self._pin(pinned, -1)
        self.component.unpin(anchor, DECISION)
        if loaded:
            self._queue_load(anchor, chain, beside)
        else:
            self.component.load_called_off()
        return loaded

    def _queue_load(self, anchor: TreeNode, chain: list[TreeNode], beside: list[TreeNode]) -> None:
        for member in chain:
            self._place(member, device=True)
            member.transfer = "queued load"
        self.component.load(beside, anchor, chain)
        self.queued_loads.append(anchor)
        self.hold(anchor, LOAD)
        if self.dialect.load_pins == "anchor_until_ack":
            self.component.pin(anchor, LOAD)
            if self.write_back or anchor.on_host:
                self.load_pins[anchor] = self._take_pin(anchor)

    def _op_start_loads(self, op: ops.StartLoads | None = None) -> Outcome:
        if not self.queued_loads:
            return LoadsStarted(False)
        for node in self.queued_loads:
            mark(node, "queued load", "load")
        self.started_loads.append(tuple(self.queued_loads))
        self.queued_loads = []
        return LoadsStarted(True)

    def _op_complete_loads(self, op: ops.CompleteLoads) -> Outcome:
        for nodes in self.started_loads[: op.count]:
            for node in nodes:
                self._end_load(node)
        del self.started_loads[: op.count]
        self._start_writes()
        return Done()

    def _end_load(self, anchor: TreeNode) -> None:
        self.let_go(anchor, LOAD)
        self.component.loaded(anchor)
        if self.dialect.load_pins == "anchor_until_ack":
            self.component.unpin(anchor, LOAD)
        if anchor in self.load_pins:
            self._pin(self.covered(self.load_pins.pop(anchor)), -1)
        for node in mark(anchor, "load", None):
            self._note_duplicate(node)
