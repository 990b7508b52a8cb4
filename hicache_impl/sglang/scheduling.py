"""What the schedulers of both caches do with a request alike.

Slots for its next tokens come from the release's own allocator. The forward pass writes the
fingerprint of each position into its slot.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import attrs
import torch

from hicache_model import operations as op
from hicache_model.fingerprint import fingerprints
from hicache_model.outcomes import Done, OutOfMemory
from hicache_model.snapshot import Slots

if TYPE_CHECKING:
    from hicache_impl.sglang.forward import Forward
    from hicache_impl.sglang.observe import Buffers


@attrs.define(slots=True)
class Running:
    """A request between admission and end. ``tokens`` is the prompt and what was decoded.

    ``read`` is the KV that its last forward pass read, of what was computed before, and
    ``window_read`` what the layers of a sliding window read, of the last of that.
    """

    req: Any
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


class OneByOne(ABC):
    """Plays one request at a time; a batch of a real server holds several."""

    def __init__(self, calls: Any, device_kv: Buffers, forward: Forward) -> None:
        self.calls, self.device_kv, self.forward = calls, device_kv, forward
        self.running: dict[int, Running] = {}

    # -- what the caches differ in

    @abstractmethod
    def _checkpoint(self, request: Running, chunked: bool) -> None:
        """What is computed goes to the tree, and the request goes on."""

    @abstractmethod
    def _release(self, number: int, keep: bool) -> Done:
        """It gives back its row and its lock; ``keep``: its KV goes to the tree first."""

    @abstractmethod
    def _before_decode(self, request: Running) -> None:
        """A batch that decodes is about to be prepared."""

    @abstractmethod
    def _end_of_batch(self) -> None:
        """What a batch made is processed."""

    # -- a request begins

    def _admitted(self, o: op.BeginRequest) -> Running:
        """Nothing is computed yet; one that was retracted comes with its outputs."""
        calls, asked = self.calls, len(o.tokens) - o.outputs
        prompt, outputs = calls.ids(o.tokens[:asked]), calls.ids(o.tokens[asked:])
        space = calls.namespace(o.namespace)
        req = calls.ways.request(str(o.request), prompt, outputs, space, o.priority)
        req.strips_thinking = calls.parts.loaded.around.settings.strip_thinking_cache
        return Running(req, len(o.tokens), o.tokens, o.namespace)

    # -- a request goes on

    def extend(self, o: op.ExtendRequest) -> Done | OutOfMemory:
        request = self.running[o.request]
        self._checkpoint(request, chunked=True)
        self.forward.start_loads()
        return self._extend(request, o.chunk) or Done()

    def decode(self, o: op.DecodeRequest) -> Done | OutOfMemory:
        request = self.running[o.request]
        self._before_decode(request)
        self.calls.evict_for(self.calls.page_size)
        slots = self._decode_slots(request)
        if slots is None:
            return OutOfMemory(1)
        request.tokens += (o.token,)
        request.req.output_ids.append(o.token)
        self._compute(request, slots)
        self._end_of_batch()
        return Done()

    def _extend(self, request: Running, chunk: int) -> OutOfMemory | None:
        """Allocate and compute up to ``chunk`` prompt tokens; a whole prompt goes to the cache."""
        chunk = min(chunk, request.prompt_length - request.computed)
        page_size = self.calls.page_size
        self.calls.evict_for(chunk if page_size == 1 else chunk + page_size)
        slots = self._extend_slots(request, chunk)
        if slots is None:
            return OutOfMemory(chunk)
        self._compute(request, slots)
        request.req.fill(request.computed)
        if request.computed == request.prompt_length:
            self._checkpoint(request, chunked=False)
        self._end_of_batch()
        return None

    def _compute(self, request: Running, slots: Any) -> None:
        """The forward pass over the next ``len(slots)`` tokens."""
        start, end = request.computed, request.computed + len(slots)
        number, rows = request.home.req_pool_idx, self.calls.rows
        rows.write((number, slice(start, end)), slots)
        self._read(request, rows.req_to_token[number, :start])
        self._write(request, slots, start, fingerprints(request.namespace, request.tokens))
        request.req.computed(end)

    def _read(self, request: Running, prefix: Any) -> None:
        request.read = self.forward.read(prefix)

    def _write(self, request: Running, slots: Any, start: int, values: Slots) -> None:
        """``values`` are the fingerprints of all tokens; those from ``start`` on are computed."""
        self.device_kv.write(slots, values[start : start + len(slots)])

    # -- a request ends

    def finish(self, o: op.FinishRequest) -> Done:
        done = self._release(o.request, keep=True)
        self._end_of_batch()
        return done

    def retract(self, o: op.RetractRequest) -> Done:
        return self._release(o.request, keep=False)

    def abort(self, o: op.AbortRequest) -> Done:
        """One that decodes ends its round as finished; one that prefills gives its memory back.

        From 0.5.14 on a half prefilled request is released without an insert (scheduler.py,
        ``_pending_chunked_abort_req``); before, an abort waits until its prompt is computed.
        """
        request = self.running[o.request]
        self.calls.ways.abort(self.calls, request.req.rid)
        if request.computed < request.prompt_length:
            return self._release(o.request, keep=False)
        return self.finish(op.FinishRequest(o.request))

    # -- slots

    def _extend_slots(self, request: Running, count: int) -> Any:
        allocator = self.calls.allocator
        if self.calls.page_size == 1:
            return allocator.alloc(count)
        before = torch.tensor([request.computed])
        after = before + count
        return allocator.alloc_extend(before, before, after, after, self._last_slot(request), count)

    def _decode_slots(self, request: Running) -> Any:
        allocator = self.calls.allocator
        if self.calls.page_size == 1:
            return allocator.alloc(1)
        after = torch.tensor([request.computed + 1])
        return allocator.alloc_decode(after, after, self._last_slot(request))

    def _last_slot(self, request: Running) -> Any:
        if request.computed == 0:
            return torch.tensor([-1])
        row = self.calls.rows.req_to_token[request.home.req_pool_idx]
        return row[request.computed - 1 : request.computed].to(torch.int64)
