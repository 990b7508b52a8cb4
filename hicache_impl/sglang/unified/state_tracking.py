"""Which state a forward pass leaves in which slot of a request's extra buffer.

Sources, of 0.5.22 and 0.5.23: schedule_batch.py (``_mamba_radix_cache_v2_req_prepare_for_extend``,
``prepare_for_decode``) and batch_result_processor.py (``_handle_finish_state_updated_req``,
``_mamba_prefix_cache_update``), of the strategy ``extra_buffer``, where the result of a batch is
processed before the next one is prepared.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from hicache_impl.sglang.build import Parts
    from hicache_impl.sglang.scheduling import Running


@attrs.define(frozen=True, slots=True)
class Kept:
    """The state after ``position`` tokens goes to ``slot``."""

    slot: Any
    position: int


class StateTracking:
    """The scheduler's part, with the release's own pool of request rows."""

    def __init__(self, parts: Parts) -> None:
        self.rows = parts.req_to_token_pool
        states = parts.loaded.around.settings.mamba
        self.grid: int = states.grid
        self.decode_grid = math.lcm(states.grid, states.mamba_track_interval)

    def kept(self, request: Running, start: int, end: int) -> Kept | None:
        if start < request.prompt_length:
            return self._of_prompt(request, start, end)
        return self._of_decode(request, end)

    def _of_prompt(self, request: Running, start: int, end: int) -> Kept | None:
        steps = (end - start) // self.grid
        if not steps:
            return None
        kv, position = request.req.kv, start + steps * self.grid
        branch = request.req.mamba_branching_seqlen
        if branch is not None and start < branch <= position and not (branch - start) % self.grid:
            position = branch
        kv.mamba_last_track_seqlen = position
        return Kept(self._turn(request), position)

    def _of_decode(self, request: Running, end: int) -> Kept | None:
        if end % self.decode_grid:
            return None
        kv = request.req.kv
        kv.mamba_prev_track_seqlen, kv.mamba_last_track_seqlen = kv.mamba_last_track_seqlen, end
        return Kept(self._turn(request), end)

    def _turn(self, request: Running) -> Any:
        """The slot whose turn it is, which is the last one used from now on."""
        kv: Any = request.req.kv
        rows = self.rows
        index = kv.mamba_last_track_idx = kv.mamba_next_track_idx
        kv.mamba_next_track_idx = rows.get_mamba_ping_pong_other_idx(index)
        buffer = rows.req_index_to_mamba_ping_pong_track_buffer_mapping[kv.req_pool_idx]
        return buffer[index : index + 1]
