"""The cache: prefixes of tokens, their KV on the device, on the host, or on both.

A serving engine computes KV into slots that it allocates here, gives them to the cache with
``insert``, and finds them again with ``match``. What the device has no room for stays on the host
as long as that has room, and ``load_back`` fetches it.

    cache = HierarchicalCache(Settings(device_slots=4096, host_slots=16384, page_size=16))
    found = cache.match(tokens)
    cache.lock(found.device_node)  # or it may be evicted
    fresh = cache.allocate(len(tokens) - len(found.slots))
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from hicache_impl.native.kv import KVBuffers
from hicache_impl.native.loading import Load
from hicache_impl.native.parts import Kinds, make_parts
from hicache_impl.native.pools import Slots, joined, slots_of
from hicache_impl.native.settings import Settings
from hicache_impl.native.tree import Tokens, TreeNode
from hicache_impl.native.writing import Writer


class Match(NamedTuple):
    """The longest cached prefix: ``slots`` on the device, then ``host_length`` tokens only on the
    host.

    ``node`` is its last node, ``device_node`` the last one on the device; the root where there is
    none.
    """

    slots: Slots
    host_length: int
    node: TreeNode
    device_node: TreeNode


class HierarchicalCache:
    """All lengths are tokens. Not thread-safe: one scheduler calls it.

    Tokens are tuples of integers; what they have beyond whole pages is left out. Namespaces keep
    equal tokens apart. ``kinds`` replaces classes that the cache is made of.
    """

    def __init__(self, settings: Settings, kinds: Kinds | None = None) -> None:
        kinds = kinds or Kinds()
        self.settings = settings
        self.parts = make_parts(settings, kinds)
        self.tree, self.upkeep = self.parts.tree, self.parts.upkeep
        self.host_eviction = kinds.host_eviction(self.parts)
        back = settings.write_policy == "write_back"
        kind = kinds.write_back if back else kinds.write_through
        self.writer: Writer = kind(self.parts, self.host_eviction)
        self.device_eviction = kinds.device_eviction(self.parts, self.host_eviction, self.writer)
        self.loads = kinds.loads(self.parts, self.device_eviction)

    @property
    def device_kv(self) -> KVBuffers:
        """The KV on the device: ``k[layer]`` and ``v[layer]`` have a row for each slot."""
        return self.parts.device_kv

    @property
    def evictable_size(self) -> int:
        """Tokens on the device that nobody locks."""
        return self.upkeep.evictable_size

    @property
    def protected_size(self) -> int:
        """Tokens that somebody locks."""
        return self.upkeep.protected_size

    @property
    def available_size(self) -> int:
        """Free device tokens, in whole pages."""
        return self.parts.device_pool.available

    # -- lookup and insert -------------------------------------------------------------------------

    def match(self, tokens: Tokens, namespace: str | None = None) -> Match:
        """Find the longest cached prefix. Refreshes its nodes; the last one ends where it ends."""
        tree = self.tree
        tokens = tree.whole_pages(tokens)
        node = device_node = tree.root
        depth, on_device = 0, list[Slots]()
        while depth < len(tokens):
            child = tree.child(node, namespace, tokens, depth)
            if child is None:
                break
            node = tree.visit(child, tokens, depth)
            depth += len(node.key)
            if node.device is not None:
                device_node = node
                on_device.append(node.device)
        slots = joined(on_device)
        return Match(slots, depth - len(slots), node, device_node)

    def insert(
        self,
        tokens: Tokens,
        slots: Sequence[int],
        namespace: str | None = None,
        priority: int = 0,
        chunked: bool = False,
    ) -> int:
        """Give the KV of ``tokens``, which lies in ``slots``, to the cache.

        Returns how many tokens were on the device already: the first so many slots are still the
        caller's, to be freed. ``chunked`` says that more of the same prompt will follow.
        """
        tree = self.tree
        tokens, slots = tree.whole_pages(tokens), slots_of(slots)
        node, depth, already = tree.root, 0, 0
        while depth < len(tokens):
            child = tree.child(node, namespace, tokens, depth)
            if child is None:
                leaf = tree.add(node, namespace, tokens, depth)
                leaf.priority = priority
                self.fill(leaf, slots[depth:])
                self.writer.count_hit(leaf, chunked)
                break
            tree.raise_priority(child, priority)
            node = tree.visit(child, tokens, depth)
            length = len(node.key)
            if node.evicted:
                self.fill(node, slots[depth : depth + length])
            else:
                already += length
                self.writer.count_hit(node, chunked)
            depth += length
        return already

    def fill(self, node: TreeNode, slots: Slots) -> None:
        """A new or an evicted node takes computed KV."""
        node.device = slots
        self.upkeep.arrived(node)

    # -- memory ------------------------------------------------------------------------------------

    def allocate(self, count: int) -> Slots | None:
        """Device slots for ``count`` tokens in new pages; None where too few are free."""
        return self.parts.device_pool.alloc(count)

    def extend(self, row: Sequence[int], count: int) -> Slots | None:
        """Device slots for ``count`` tokens after those in ``row``; None where too few are free."""
        return self.parts.device_pool.extend(row, count)

    def free(self, slots: Sequence[int]) -> None:
        """Give back device slots that never went to the cache, beginning at a page's start."""
        self.parts.device_pool.free(slots)

    def evict_device(self, count: int) -> int:
        """Free at least ``count`` device tokens, or all that may go; how many it were."""
        return self.device_eviction.evict(count)

    def evict_host(self, count: int) -> int:
        """Free at least ``count`` host tokens, or all that may go; how many it were."""
        return self.host_eviction.evict(count)

    # -- transfers ---------------------------------------------------------------------------------

    def load_back(self, node: TreeNode, quota: int | None = None) -> Slots:
        """Queue the load of ``node`` and what is above it from the host, all of it or nothing.

        Returns the device slots, which are valid once the load was started and has completed; none
        where it is refused. Of an evicted ``node``: ``Match.node`` where ``host_length`` > 0.
        """
        return self.loads.load_back(node, quota)

    def start_loads(self) -> Load | None:
        """Start all queued loads as one transfer; None where there are none."""
        return self.loads.start()

    def complete_writes(self, count: int) -> None:
        """Wait for the oldest ``count`` writes; what they locked may be evicted again."""
        self.writer.acknowledge(count)

    def complete_loads(self, count: int) -> None:
        """Wait for the oldest ``count`` loads; what they locked may be evicted again."""
        self.loads.acknowledge(count)

    def poll(self) -> None:
        """Acknowledge what has completed by itself, without waiting."""
        while self.writer.pending and self.writer.pending[0].transfer.done():
            self.writer.acknowledge(1)
        while self.loads.started and self.loads.started[0].transfer.done():
            self.loads.acknowledge(1)

    # -- holding -----------------------------------------------------------------------------------

    def lock(self, node: TreeNode) -> None:
        """Keep a node on the device, and all above it. The root needs no lock, and takes any."""
        self.upkeep.lock(node)

    def unlock(self, node: TreeNode) -> None:
        """Undo one ``lock`` of the same node."""
        self.upkeep.unlock(node)

    def pin_host(self, node: TreeNode) -> None:
        """Keep a node's host copy."""
        self.upkeep.pin(node)

    def unpin_host(self, node: TreeNode) -> None:
        """Undo one ``pin_host`` of the same node."""
        self.upkeep.unpin(node)

    # -- the end -----------------------------------------------------------------------------------

    def reset(self) -> None:
        """Forget everything. RuntimeError while something is locked, queued or in flight."""
        if self.protected_size or self.loads.queued:
            raise RuntimeError(
                f"{self.protected_size} tokens are locked or in flight; "
                "complete the transfers and unlock before reset"
            )
        for part in (
            self.tree,
            self.upkeep,
            self.parts.device_pool,
            self.parts.host_pool,
            self.writer,
            self.loads,
        ):
            part.clear()
