"""What SGLang's scheduler does with a request on a UnifiedRadixCache, call by call.

Sources: scheduler.py, schedule_policy.py (``add_one_req``), schedule_batch.py (``Req``) and
mem_cache/common.py, whose own functions put a request's KV into the tree and release it. The
forward pass writes the fingerprint of each position into its slot.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from hicache_impl.sglang.request_slots import RequestSlots
from hicache_impl.sglang.unified.request import Req
from hicache_impl.sglang.unified.request_states import RequestStates
from hicache_model import operations as op
from hicache_model.fingerprint import fingerprints
from hicache_model.outcomes import Admitted, Done, OutOfMemory
from hicache_model.snapshot import Slots

if TYPE_CHECKING:
    from hicache_impl.sglang.forward import Forward
    from hicache_impl.sglang.observe import Buffers
    from hicache_impl.sglang.unified.calls import Calls


@attrs.define(slots=True)
class Running:
    """A request between admission and end. ``tokens`` is the prompt and what was decoded.

    ``read`` is the KV that its last forward pass read, of what was computed before, and
    ``window_read`` what the layers of a sliding window read, of the last of that.
    """

    req: Req
    prompt_length: int
    tokens: tuple[int, ...]
    namespace: str | None
    read: Slots = ()
    window_read: Slots = ()

    @property
    def home(self) -> Any:
        return self.req.home

    @property
    def computed(self) -> int:
        return int(self.home.kv_committed_len)


class Scheduler(RequestSlots):
    """Plays one request at a time; a batch of a real server holds several."""

    def __init__(self, calls: Calls, device_kv: Buffers, forward: Forward) -> None:
        self.calls, self.device_kv, self.forward = calls, device_kv, forward
        component = calls.parts.component
        self.states = RequestStates(calls) if component and component.has_states else None
        self.running: dict[int, Running] = {}

    def touch(self, o: op.Touch) -> Done:
        """SchedulePolicy._touch_waiting_prefixes, of one request that waits."""
        calls = self.calls
        space = calls.namespace(o.namespace)
        waiting = calls.ways.request("waiting", calls.ids(o.tokens), calls.ids(()), space, 0)
        calls.common.touch_waiting_prefix(waiting, calls.cache)
        return Done()

    def begin(self, o: op.BeginRequest) -> Admitted | OutOfMemory:
        calls = self.calls
        prompt, outputs = calls.ids(o.tokens), calls.ids(())
        space = calls.namespace(o.namespace)
        req = calls.ways.request(str(o.request), prompt, outputs, space, o.priority)
        request = Running(req, len(o.tokens), o.tokens, o.namespace)
        matched = calls.match_for(req, o.tokens[:-1], o.namespace)
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

    def extend(self, o: op.ExtendRequest) -> Done | OutOfMemory:
        request = self.running[o.request]
        ways, req = self.calls.ways, request.req
        ways.checkpoint(self.calls, req, True)
        self.forward.start_loads()
        req.computed(ways.resumes_at(req))
        return self._extend(request, o.chunk) or Done()

    def decode(self, o: op.DecodeRequest) -> Done | OutOfMemory:
        request = self.running[o.request]
        if (
            self.calls.parts.component
            and self.states is None
            and request.computed > request.prompt_length
        ):
            self._give_back(request)
        self.calls.evict_for(self.calls.page_size)
        slots = self._decode_slots(request)
        if slots is None:
            return OutOfMemory(1)
        request.tokens += (o.token,)
        request.req.output_ids.append(o.token)
        self._compute(request, slots)
        self._end_of_batch()
        return Done()

    def finish(self, o: op.FinishRequest) -> Done:
        done = self._release(o.request, checkpoint=True)
        self._end_of_batch()
        return done

    def retract(self, o: op.RetractRequest) -> Done:
        return self._release(o.request, checkpoint=False)

    def abort(self, o: op.AbortRequest) -> Done:
        """One that decodes ends its round as finished; one that prefills gives its memory back."""
        calls, request = self.calls, self.running[o.request]
        calls.ways.abort(calls, request.req.rid)
        if request.computed < request.prompt_length:
            return self._release(o.request, checkpoint=False)
        return self.finish(op.FinishRequest(o.request))

    def _load_back(self, req: Req, matched: Any) -> None:
        calls = self.calls
        with calls.ways.matched_stays(calls, matched.best_match_node):
            loaded, req.last_node = calls.load_back(matched, None, req)
        req.prefix_len += loaded

    def _give_back(self, request: Running) -> None:
        """Scheduler.maybe_evict_swa, in every batch but the first that decodes."""
        self.calls.cache.evict_sliding_windows(request.req, request.computed, eviction_interval=1)

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

    def _extend(self, request: Running, chunk: int) -> OutOfMemory | None:
        """Allocate and compute up to ``chunk`` prompt tokens; a whole prompt goes to the cache."""
        chunk = min(chunk, request.prompt_length - request.computed)
        page_size = self.calls.page_size
        self.calls.evict_for(chunk if page_size == 1 else chunk + page_size)
        slots = self._extend_slots(request, chunk)
        if slots is None:
            return OutOfMemory(chunk)
        request.req.extend_end = request.computed + chunk
        self._compute(request, slots)
        if request.computed == request.prompt_length:
            self.calls.ways.checkpoint(self.calls, request.req, False)
        self._end_of_batch()
        return None

    def _end_of_batch(self) -> None:
        self.calls.ways.end_of_batch(self.calls)

    def _compute(self, request: Running, slots: Any) -> None:
        """The forward pass over the next ``len(slots)`` tokens."""
        start, end = request.computed, request.computed + len(slots)
        number, rows = request.home.req_pool_idx, self.calls.rows
        rows.write((number, slice(start, end)), slots)
        prefix = rows.req_to_token[number, :start]
        request.read = self.forward.read(prefix)
        request.window_read = self._read_window(prefix)
        values = fingerprints(request.namespace, request.tokens)[start:end]
        self.device_kv.write(slots, values)
        self.calls.write_component(slots, values)
        if self.states is not None:
            self.states.compute(request, start, end)
        request.req.computed(end)

    def _read_window(self, prefix: Any) -> Slots:
        """What the layers of a sliding window read of it, where there are any."""
        calls, component = self.calls, self.calls.parts.component
        if component is None or calls.component_kv is None or component.has_states:
            return ()
        first = max(0, len(prefix) - calls.cache.sliding_window_size)
        return self.forward.read_window(component.mapping[prefix[first:]], calls.component_kv)

    def _release(self, number: int, checkpoint: bool) -> Done:
        req = self.running.pop(number).req
        req.done = checkpoint
        self.calls.ways.release(self.calls, req, checkpoint)
        return Done()
