"""What SGLang's scheduler does with a request, call by call, and the request that the cache sees.

Sources: scheduler.py, schedule_policy.py (``add_one_req``), schedule_batch.py (``Req``) and
mem_cache/common.py, from 0.5.18 mem_cache/allocation.py. The
forward pass writes the fingerprint of each position into its slot.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import attrs
import torch

from hicache_impl.sglang.namespaces import KeyParts
from hicache_impl.sglang.request_slots import RequestSlots
from hicache_model import operations as op
from hicache_model.fingerprint import fingerprints
from hicache_model.outcomes import Admitted, Done, OutOfMemory
from hicache_model.snapshot import Slots

if TYPE_CHECKING:
    from hicache_impl.sglang.differences import Calls
    from hicache_impl.sglang.forward import Forward
    from hicache_impl.sglang.observe import Buffers

# -- the request, as the cache's own methods read it -----------------------------------------------
#
# Slots only: what a release reads and its Req does not have raises AttributeError.


class Req:
    """What every release reads. ``home`` is where the row and the lengths are kept."""

    KEY: ClassVar[tuple[str, ...]] = ("extra_key",)
    """The parts of a namespace that it carries."""

    __slots__ = (
        "_filled",
        "extra_key",
        "last_node",
        "origin_input_ids",
        "output_ids",
        "prefix_indices",
        "priority",
        "rid",
    )

    def __init__(self, rid: str, prompt: Any, outputs: Any, namespace: KeyParts, priority: int):
        self.rid = rid
        self.origin_input_ids = prompt
        self.output_ids = outputs
        for part in self.KEY:
            setattr(self, part, getattr(namespace, part))
        self.priority = priority
        self.last_node: Any = None
        self.prefix_indices: Any = None

    @property
    def home(self) -> Any:
        return self

    def fill(self, length: int) -> None:
        """The first ``length`` prompt tokens are, or are about to be, computed."""
        raise NotImplementedError


class _PlainReq(Req):
    __slots__ = ("cache_protected_len", "kv_committed_len", "req_pool_idx")

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.req_pool_idx: int | None = None
        self.cache_protected_len = 0
        self.kv_committed_len = 0


class ListReq(_PlainReq):
    """0.5.9 to 0.5.12: ``fill_ids`` is a list."""

    __slots__ = ("fill_ids",)

    def fill(self, length: int) -> None:
        self.fill_ids = self.origin_input_ids[:length]

    def is_dllm(self) -> bool:
        """ReqToTokenPool.alloc of 0.5.9 asks; diffusion models are not driven here."""
        return False

    def pop_committed_kv_cache(self) -> int:
        return self.kv_committed_len


class _CutsArray(Req):
    """From 0.5.13: ``get_fill_ids()`` cuts an array."""

    __slots__ = ()

    def fill(self, length: int) -> None:
        self._filled = length

    def get_fill_ids(self) -> Any:
        return self.origin_input_ids[: self._filled]


class ArrayReq(_CutsArray, _PlainReq):
    """0.5.13 to 0.5.15."""

    __slots__ = ()

    def pop_committed_kv_cache(self) -> int:
        return self.kv_committed_len


class SizedReq(_CutsArray, _PlainReq):
    """0.5.16 and 0.5.17: the caller passes the length to the cache."""

    __slots__ = ()

    def effective_kv_committed_len(self) -> int:
        return self.kv_committed_len


class SaltedReq(SizedReq):
    """0.5.18: a salt beside ``extra_key``."""

    __slots__ = ("cache_salt",)
    KEY = KeyParts._fields


@attrs.define(slots=True)
class Kv:
    """ReqKvInfo from 0.5.19."""

    req_pool_idx: int | None = None
    cache_protected_len: int = 0
    kv_committed_len: int = 0

    @property
    def holds_kv(self) -> bool:
        return self.req_pool_idx is not None


class KvReq(_CutsArray):
    """From 0.5.19: row and lengths are in ``kv``."""

    __slots__ = ("cache_salt", "kv")
    KEY = KeyParts._fields

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.kv = Kv()

    @property
    def home(self) -> Kv:
        return self.kv

    def effective_kv_committed_len(self) -> int:
        return self.kv.kv_committed_len


# -- the scheduler ---------------------------------------------------------------------------------


@attrs.define(slots=True)
class Running:
    """A request between admission and end. ``tokens`` is the prompt and what was decoded.

    ``read`` is the KV that its last forward pass read, of what was computed before.
    """

    req: Any
    prompt_length: int
    tokens: tuple[int, ...]
    namespace: str | None
    read: Slots = ()

    @property
    def home(self) -> Any:
        return self.req.home

    @property
    def computed(self) -> int:
        return self.home.kv_committed_len


class Scheduler(RequestSlots):
    """Plays one request at a time; a batch of a real server holds several."""

    def __init__(self, calls: Calls, device_kv: Buffers, forward: Forward) -> None:
        self.calls, self.device_kv, self.forward = calls, device_kv, forward
        self.running: dict[int, Running] = {}

    def begin(self, o: op.BeginRequest) -> Admitted | OutOfMemory:
        calls, cache = self.calls, self.calls.cache
        ids = calls.ways.token_ids
        space = calls.namespace(o.namespace)
        req = calls.ways.request(str(o.request), ids(o.tokens), ids(()), space, o.priority)
        matched = calls.match(o.tokens[:-1], o.namespace)
        first = req.last_node = matched.last_device_node
        req.prefix_indices = matched.device_indices
        device_length = len(req.prefix_indices)
        cache.inc_lock_ref(first)
        if matched.host_hit_length > 0:
            loaded, req.last_node = calls.load_back(matched, None, req)
            req.prefix_indices = torch.cat([req.prefix_indices, loaded])
        cache.inc_lock_ref(req.last_node)
        cache.dec_lock_ref(first)
        self.forward.start_loads()
        prefix_length = req.home.cache_protected_len = len(req.prefix_indices)
        request = Running(req, len(o.tokens), o.tokens, o.namespace)
        self._take_row(request)
        self.running[o.request] = request
        return self._extend(request, o.chunk) or Admitted(
            device_length, prefix_length - device_length
        )

    def extend(self, o: op.ExtendRequest) -> Done | OutOfMemory:
        request = self.running[o.request]
        self.calls.cache.cache_unfinished_req(request.req, chunked=True)
        self.forward.start_loads()
        return self._extend(request, o.chunk) or Done()

    def decode(self, o: op.DecodeRequest) -> Done | OutOfMemory:
        request = self.running[o.request]
        self.calls.evict_for(self.calls.page_size)
        slots = self._decode_slots(request)
        if slots is None:
            return OutOfMemory(1)
        request.tokens += (o.token,)
        request.req.output_ids.append(o.token)
        self._compute(request, slots)
        return Done()

    def finish(self, o: op.FinishRequest) -> Done:
        return self._release(o.request, is_insert=True)

    def retract(self, o: op.RetractRequest) -> Done:
        return self._release(o.request, is_insert=False)

    def abort(self, o: op.AbortRequest) -> Done:
        """One that decodes ends its round as finished; one that prefills gives its memory back.

        From 0.5.14 on a half prefilled request is released without an insert (scheduler.py,
        ``_pending_chunked_abort_req``); before, an abort waits until its prompt is computed.
        """
        calls, request = self.calls, self.running[o.request]
        calls.ways.abort(calls.base, calls.cache, request.req.rid)
        return self._release(o.request, is_insert=request.computed >= request.prompt_length)

    def _take_row(self, request: Running) -> None:
        """A row of req_to_token, with the prefix in it."""
        rows = self.calls.rows
        if rows.alloc([request.req]) is None:
            raise RuntimeError("more requests than rows in req_to_token_pool")
        prefix = request.req.prefix_indices
        rows.write((request.home.req_pool_idx, slice(0, len(prefix))), prefix)
        request.home.kv_committed_len = len(prefix)
        request.req.fill(len(prefix))

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
            self.calls.cache.cache_unfinished_req(request.req)
        return None

    def _compute(self, request: Running, slots: Any) -> None:
        """The forward pass over the next ``len(slots)`` tokens."""
        start, end = request.computed, request.computed + len(slots)
        number, rows = request.home.req_pool_idx, self.calls.rows
        rows.write((number, slice(start, end)), slots)
        request.read = self.forward.read(rows.req_to_token[number, :start])
        values = fingerprints(request.namespace, request.tokens)[start:end]
        self.device_kv.write(slots, values)
        request.home.kv_committed_len = end

    def _release(self, number: int, is_insert: bool) -> Done:
        req = self.running.pop(number).req
        self.calls.ways.finish(self.calls.cache, req, is_insert)
        self.calls.rows.free(req)
        return Done()
