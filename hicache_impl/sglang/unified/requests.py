"""What SGLang's scheduler does with a request on a UnifiedRadixCache, call by call.

Sources: scheduler.py, schedule_policy.py (``add_one_req``), schedule_batch.py (``Req``) and
mem_cache/common.py, whose own functions put a request's KV into the tree and release it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hicache_impl.sglang.scheduling import OneByOne, Running
from hicache_impl.sglang.unified.request import Req
from hicache_impl.sglang.unified.request_states import RequestStates
from hicache_model import operations as op
from hicache_model.outcomes import Admitted, Done, OutOfMemory, Retracted
from hicache_model.snapshot import Slots

if TYPE_CHECKING:
    from hicache_impl.sglang.forward import Forward
    from hicache_impl.sglang.observe import Buffers
    from hicache_impl.sglang.unified.calls import Calls


HOST_POOL = "host_pool"
"""--disaggregation-decode-retraction-backup"""


class Scheduler(OneByOne):
    """The scheduler of a UnifiedRadixCache."""

    calls: Calls

    def __init__(self, calls: Calls, device_kv: Buffers, forward: Forward) -> None:
        super().__init__(calls, device_kv, forward)
        self.retracted: dict[int, Running] = {}
        component = calls.parts.component
        self.states = RequestStates(calls) if component and component.has_states else None

    def touch(self, o: op.Touch) -> Done:
        """SchedulePolicy._touch_waiting_prefixes, of one request that waits."""
        calls = self.calls
        space = calls.namespace(o.namespace)
        waiting = calls.ways.request("waiting", calls.ids(o.tokens), calls.ids(()), space, 0)
        calls.common.touch_waiting_prefix(waiting, calls.cache)
        return Done()

    def begin(self, o: op.BeginRequest) -> Admitted | OutOfMemory:
        calls = self.calls
        request = self._admitted(o)
        req = request.req
        matched = calls.match_for(req, o.tokens, o.namespace)
        req.last_node = matched.last_device_node
        req.swa_branching_seqlen = getattr(matched, "swa_branching_seqlen", None)
        req.mamba_branching_seqlen = getattr(matched, "mamba_branching_seqlen", None)
        device_length = req.prefix_len = calls.ways.matched_length(matched)
        admission = calls.lock(req.last_node)
        if calls.lacks_on_device(req, matched):
            self._load_back(req, matched)
        req.home.cache_protected_len = req.prefix_len
        calls.ways.lock_request(calls, req)
        calls.unlock(admission)
        self.forward.start_loads()
        self._take_row(request)
        self.running[o.request] = request
        loaded_length = req.prefix_len - device_length
        return self._extend(request, o.chunk) or Admitted(device_length, loaded_length)

    def retract_to_host(self, o: op.RetractToHost) -> Retracted:
        """release_req of schedule_batch.py, in a server that only decodes."""
        request = self.running[o.request]
        saved: bool = self.calls.common.backup_kv_cache(request.req, *self._pools, HOST_POOL)
        self._release(o.request, keep=False)
        if saved:
            self.retracted[o.request] = request
        return Retracted(saved)

    def resume(self, o: op.ResumeRequest) -> Done | OutOfMemory:
        """resume_retracted_reqs of disaggregation/decode.py, and the batch in which it goes on."""
        calls, request = self.calls, self.retracted[o.request]
        req, length = request.req, len(request.tokens)
        calls.rows.alloc([req])
        req.computed(0)
        whole = -(-length // calls.page_size) * calls.page_size
        missing = whole - calls.allocator.available_size()
        if missing > 0:
            calls.cache.evict_for_alloc(calls.base.EvictParams(num_tokens=missing))
        slots = self._extend_slots(request, length)
        if slots is None:
            return OutOfMemory(length)
        calls.rows.write((req.home.req_pool_idx, slice(0, length)), slots)
        req.computed(length)
        req.refresh_fill_ids()
        req.fill(length)
        calls.common.restore_kv_cache(req, *self._pools, HOST_POOL)
        root = calls.cache.root_node_handle(req.extra_key)
        req.starts_at(root, calls.base.DecLockRefParams())
        request.read = ()
        self.running[o.request] = self.retracted.pop(o.request)
        self._checkpoint(request, chunked=False)
        self._end_of_batch()
        return Done()

    def abort(self, o: op.AbortRequest) -> Done:
        """What waits on the host is forgotten there."""
        waiting = self.retracted.pop(o.request, None)
        if waiting is None:
            return super().abort(o)
        self.calls.common.discard_kv_cache_backup(waiting.req, self.calls.cache, HOST_POOL)
        return Done()

    @property
    def _pools(self) -> tuple[Any, Any, Any]:
        return self.calls.cache, self.calls.rows, self.calls.allocator

    def _load_back(self, req: Req, matched: Any) -> None:
        calls = self.calls
        with calls.ways.matched_stays(calls, matched.best_match_node):
            loaded, req.last_node = calls.load_back(matched, None, req)
        req.prefix_len += loaded

    def _take_row(self, request: Running) -> None:
        """A row of req_to_token, with the prefix in it."""
        calls, req = self.calls, request.req
        prefix = calls.ways.prefix(calls, req)
        if self.states is not None:
            self.states.take(req)
        if calls.rows.alloc([req]) is None:
            raise RuntimeError("more requests than rows in req_to_token_pool")
        calls.rows.write((req.home.req_pool_idx, slice(0, len(prefix))), prefix)
        req.computed(len(prefix))

    def _before_decode(self, request: Running) -> None:
        """Scheduler.maybe_evict_swa, in every batch but the first that decodes."""
        windows = self.calls.parts.component is not None and self.states is None
        if windows and request.computed > request.prompt_length:
            cache = self.calls.cache
            cache.evict_sliding_windows(request.req, request.computed, eviction_interval=1)

    def _checkpoint(self, request: Running, chunked: bool) -> None:
        self.calls.ways.checkpoint(self.calls, request.req, chunked)
        if chunked:
            request.req.computed(self.calls.ways.resumes_at(request.req))

    def _end_of_batch(self) -> None:
        self.calls.ways.end_of_batch(self.calls)

    def _read(self, request: Running, prefix: Any) -> None:
        super()._read(request, prefix)
        calls, component = self.calls, self.calls.parts.component
        if component is not None and calls.component_kv is not None and self.states is None:
            last = prefix[max(0, len(prefix) - calls.cache.sliding_window_size) :]
            slots = component.mapping[last]
            request.window_read = self.forward.read_window(slots, calls.component_kv)

    def _write(self, request: Running, slots: Any, start: int, values: Slots) -> None:
        super()._write(request, slots, start, values)
        end = start + len(slots)
        self.calls.write_component(slots, values[start:end])
        if self.states is not None:
            self.states.compute(request, start, end)

    def _release(self, number: int, keep: bool) -> Done:
        req = self.running.pop(number).req
        req.done = keep
        self.calls.ways.release(self.calls, req, keep)
        return Done()
