"""How a UnifiedRadixCache is called and looked into; what differs between releases is in ways.py.

Nodes are known to its callers by handles (places.py).
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import attrs
import torch

from hicache_impl.sglang.build import Parts
from hicache_impl.sglang.calls import CommonCalls
from hicache_impl.sglang.differences import differences
from hicache_impl.sglang.observe import Buffers
from hicache_impl.sglang.unified.places import Places, places
from hicache_impl.sglang.unified.request import Req
from hicache_impl.sglang.unified.ways import ways


@attrs.define(frozen=True, slots=True)
class Held:
    """A lock or a pin that was taken, with the receipt that gives it back.

    ``node`` is known also when the cache has lost it; None where it had before it was asked for.
    """

    handle: Any
    node: Any
    receipt: Any


class Calls(CommonCalls):
    """The calls on one UnifiedRadixCache."""

    def __init__(self, parts: Parts) -> None:
        loaded, component = parts.loaded, parts.component
        self._pools = differences(loaded.version)  # the same pools as HiRadixCache's
        super().__init__(parts, self._pools.token_ids)
        self.component_kv = None
        if component is not None:
            self.component_kv = Buffers(*component.device_kv)
        self.full_allocator = component.full_allocator if component else parts.allocator
        self._places = self._find_places(loaded.version)
        self.tree = self._places.tree(parts.cache)
        self.ways = ways(loaded.version)
        self.full = loaded.module(self._places.components).ComponentType.FULL

    def _find_places(self, version: str) -> Places:
        return places(version)

    # -- nodes

    def node(self, handle: Any) -> Any:
        return self._places.node(self.tree, handle)

    def node_or_none(self, handle: Any) -> Any:
        """As ``node``, of one that may have left the tree."""
        return self._places.node_or_none(self.tree, handle)

    def handle(self, node: Any) -> Any:
        """How callers of the cache name a node."""
        return self._places.handle(node)

    def registered(self) -> Collection[Any]:
        """The nodes that the tree finds by their ids; none where there are no ids."""
        return self._places.registered(self.tree)

    def is_root(self, handle: Any) -> bool:
        return self.node(handle) is self.tree.root_node

    def path_slots(self, handle: Any) -> Any:
        """The device slots of the nodes down to this one."""
        slots, node = [], self.node(handle)
        while node is not self.tree.root_node:
            slots.append(node.component_data[self.full].value)
            node = node.parent
        return torch.cat(slots[::-1]) if slots else torch.empty(0, dtype=torch.int64)

    def child(self, node: Any, key: Any) -> Any:
        """The child of ``node`` under the first page of ``key``; None where there is none."""
        return node.children.get(key.child_key(self.page_size))

    def backed_up_from(self, handle: Any) -> Any:
        """The nearest node with a host copy, at this one or above; None where only the root is."""
        node = self.node(handle)
        while not (node.backuped or node is self.tree.root_node):
            node = node.parent
        return None if node is self.tree.root_node else self.handle(node)

    def keep_up(self) -> None:
        """Learn which nodes the last operation made; here they show it themselves."""

    # -- lookup

    def match_for(self, req: Req, tokens: tuple[int, ...], namespace: str | None) -> Any:
        """The lookup of a request that begins, which copies what it needs of a state."""
        component = self.parts.component
        states = component is not None and component.has_states
        named = {"cow_mamba": True, "req": req} if states else {}
        return self.look_up(self.prompt_key(tokens, namespace), **named)

    def matched_slots(self, matched: Any) -> Any:
        """The device slots of what ``matched`` found on the device."""
        return self.ways.matched_slots(self, matched)

    def lacks_on_device(self, req: Req, matched: Any) -> bool:
        """Whether something of a match has to be loaded (Req.needs_host_load_back)."""
        req.swa_host_hit_length = getattr(matched, "swa_host_hit_length", 0)
        req.mamba_host_hit_length = getattr(matched, "mamba_host_hit_length", 0)
        lacks = (matched.host_hit_length, req.swa_host_hit_length, req.mamba_host_hit_length)
        return any(lacks)

    # -- load back

    def load_back(self, matched: Any, quota: int | None, req: Req) -> tuple[int, Any]:
        """Queue the load of what ``matched`` found on the host only: its length, the last node.

        ``req.last_node`` is the last node on the device.
        """
        loaded, handle = self.cache.init_load_back(
            self.base.InitLoadBackParams(
                best_match_node=matched.best_match_node,
                host_hit_length=matched.host_hit_length,
                mem_quota=quota,
                req=req,
            )
        )
        return self.ways.loaded(loaded), handle

    # -- locks

    def lock(self, handle: Any) -> Held:
        receipt = self.cache.inc_lock_ref(handle).to_dec_params()
        return Held(handle, self.node(handle), receipt)

    def unlock(self, held: Held) -> None:
        self.cache.dec_lock_ref(held.handle, held.receipt)

    def pin(self, handle: Any) -> Held:
        receipt = self.cache.inc_host_lock_ref(handle).to_dec_params()
        return Held(handle, self.node(handle), receipt)

    def unpin(self, held: Held) -> None:
        self.cache.dec_host_lock_ref(held.handle, held.receipt)

    def held_node(self, held: Held) -> Any:
        return held.node

    def pins_of_load(self, ongoing: Any) -> list[Held]:
        """The pin of a load in flight, an entry of ``ongoing_load_back``; none up to 0.5.13."""
        handle, _, *receipts = ongoing
        return [Held(handle, self.node_or_none(handle), receipt) for receipt in receipts]

    def published(self, pending: Any) -> Any:
        """The nodes that the acknowledgement of a write publishes; None where none are listed."""
        return self._pools.published_nodes(pending)  # kept as in HiRadixCache

    def pinned_nodes(self, held: Held) -> list[Any]:
        """The nodes that a pin covers."""
        return [] if held.node is None else self.ways.pinned(self, held)

    # -- memory

    def write_component(self, slots: Any, values: tuple[int, ...]) -> None:
        """The forward pass writes a window's KV too, to where the full slots are mapped."""
        component = self.parts.component
        if component is not None and self.component_kv is not None and not component.has_states:
            self.component_kv.write(component.mapping[slots], values)

    def fresh_state(self) -> dict[str, Any] | None:
        """A slot for a state, as InsertParams takes it; None when short, nothing without states."""
        component = self.parts.component
        if component is None or not component.has_states:
            return {}
        slot = component.allocator.alloc(1)
        return None if slot is None else {"mamba_value": slot}

    def write_state(self, slot: Any, value: int) -> None:
        assert self.component_kv is not None
        self.component_kv.write(slot, (value,))

    def keep_state(self, state: dict[str, Any], inserted: Any) -> None:
        """The caller of an insert frees the state that the tree had already."""
        if state and inserted.mamba_exist:
            assert self.parts.component is not None
            self.parts.component.allocator.free(state["mamba_value"])

    def fresh_slots(self, count: int) -> Any:
        """Device slots for ``count`` tokens, whole pages, of all pools at once; None when short."""
        if self.page_size == 1 or self.parts.component is None:
            return self.allocator.alloc(count)
        nothing, end, before = torch.tensor([0]), torch.tensor([count]), torch.tensor([-1])
        return self.allocator.alloc_extend(nothing, nothing, end, end, before, count)

    def free_on_device(self) -> tuple[Any, ...]:
        """The tensors that make up the device free list, in order."""
        return self.free_of(self.full_allocator)

    def free_of_component(self) -> tuple[Any, ...]:
        """The same of the component's pool."""
        component = self.parts.component
        assert component is not None
        if component.has_states:
            return (component.allocator.free_slots,)
        return self.free_of(component.allocator)

    def free_on_host(self) -> tuple[Any, ...]:
        return self.free_of_host(self.parts.host_pool)

    def free_of(self, allocator: Any) -> tuple[Any, ...]:
        """The same of any allocator."""
        return self._pools.device_free(allocator)

    def free_of_host(self, pool: Any) -> tuple[Any, ...]:
        return self._pools.host_free(pool)
