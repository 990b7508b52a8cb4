"""The states of a running request: where they come from, and what the forward pass makes of them.

Sources: mem_cache/allocation.py (``ensure_mamba_capacity``), schedule_batch.py (what is left to do
when a batch is prepared) and memory_pool.py (``copy_mamba_state`` and ``mamba2_layer_cache``, which
wait for what is loaded).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hicache_impl.sglang.unified.state_tracking import StateTracking
from hicache_model.fingerprint import fingerprints

if TYPE_CHECKING:
    from hicache_impl.sglang.unified.calls import Calls


class RequestStates:
    """A state is computed from the one before: a wrong one makes all that follow wrong."""

    def __init__(self, calls: Calls) -> None:
        self.calls, self.rows = calls, calls.rows
        self._allocation = calls.parts.loaded.module("mem_cache.allocation")
        self._tracking = StateTracking(calls.parts) if self.rows.enable_mamba_extra_buffer else None

    def take(self, req: Any) -> None:
        """Make room for the states of a request that has none yet, before it gets its row."""
        self._allocation.ensure_mamba_capacity(self.rows, [req], self.calls.cache)

    def compute(self, request: Any, start: int, end: int) -> None:
        """The forward pass from position ``start`` to ``end``, which waits for its load by now."""
        self._prepare(request.req.kv)
        slot = request.req.kv.mamba_pool_idx.unsqueeze(0)
        computed = fingerprints(request.namespace, request.tokens)
        wrong = self._read(slot) - (computed[start - 1] if start else 0)
        self.calls.write_state(slot, computed[end - 1] + wrong)
        kept = self._tracking.kept(request, start, end) if self._tracking else None
        if kept is not None:
            self.calls.write_state(kept.slot, computed[kept.position - 1] + wrong)

    def _prepare(self, kv: Any) -> None:
        """A copy of the state that was found, or nothing where none was."""
        slot = kv.mamba_pool_idx.unsqueeze(0)
        if kv.mamba_cow_src_index is not None:
            self.rows.copy_mamba_state(kv.mamba_cow_src_index, slot)
        elif kv.mamba_needs_clear:
            self.rows.mamba_pool.clear_slots(slot)
        kv.mamba_cow_src_index, kv.mamba_needs_clear = None, False

    def _read(self, slot: Any) -> int:
        """The state as the layers read it, as a fingerprint."""
        buffers, rows = self.calls.component_kv, []
        assert buffers is not None
        for layer in self.rows.mamba_map:
            cache = self.rows.mamba2_layer_cache(layer)
            rows += [cache.conv[0].view(-1)[slot], cache.temporal.view(-1)[slot]]
        (content,) = buffers.decode(*rows)
        return content
