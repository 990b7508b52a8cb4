"""What SGLang's scheduler does with a request, call by call, and the request that the cache sees.

Sources: scheduler.py, schedule_policy.py (``add_one_req``), schedule_batch.py (``Req``) and
mem_cache/common.py, from 0.5.18 mem_cache/allocation.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import attrs
import torch

from hicache_impl.sglang.namespaces import KeyParts
from hicache_impl.sglang.scheduling import OneByOne, Running
from hicache_impl.sglang.thinking import owned_kv_len
from hicache_model import operations as op
from hicache_model.outcomes import Admitted, Done, OutOfMemory

if TYPE_CHECKING:
    from hicache_impl.sglang.differences import Calls

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
        "strips_thinking",
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
        self.strips_thinking = False

    @property
    def home(self) -> Any:
        return self

    def computed(self, length: int) -> None:
        """So many tokens have KV in the row."""
        self.home.kv_committed_len = length

    def owned(self) -> int:
        """What is not over-allocated."""
        return owned_kv_len(self)

    def fill(self, length: int) -> None:
        """The first ``length`` tokens to prefill are, or are about to be, computed."""
        raise NotImplementedError


class _PlainReq(Req):
    __slots__ = ("cache_protected_len", "kv_committed_len", "req_pool_idx")

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.req_pool_idx: int | None = None
        self.cache_protected_len = 0
        self.kv_committed_len = 0


class _PoppedReq(_PlainReq):
    """Up to 0.5.15: lengths are asked for when the row is released, each once."""

    __slots__ = ()

    def pop_committed_kv_cache(self) -> int:
        return self.owned()

    def pop_overallocated_kv_cache(self) -> tuple[int, int]:
        return self.owned(), self.kv_committed_len


class ListReq(_PoppedReq):
    """0.5.9 to 0.5.12: ``fill_ids`` is a list."""

    __slots__ = ("fill_ids",)

    def fill(self, length: int) -> None:
        self.fill_ids = (self.origin_input_ids + self.output_ids)[:length]

    def is_dllm(self) -> bool:
        """ReqToTokenPool.alloc of 0.5.9 asks; diffusion models are not driven here."""
        return False


class _CutsArray(Req):
    """From 0.5.13: ``get_fill_ids()`` cuts an array."""

    __slots__ = ()

    def fill(self, length: int) -> None:
        self._filled = length

    def get_fill_ids(self) -> Any:
        return (self.origin_input_ids + self.output_ids)[: self._filled]


class ArrayReq(_CutsArray, _PoppedReq):
    """0.5.13 to 0.5.15."""

    __slots__ = ()


@attrs.define(slots=True)
class Allocated:
    """ReqKvInfo of 0.5.16 to 0.5.18."""

    kv_allocated_len: int = 0


@attrs.define(slots=True)
class Kv(Allocated):
    """ReqKvInfo from 0.5.19."""

    req_pool_idx: int | None = None
    cache_protected_len: int = 0
    kv_committed_len: int = 0
    swa_evicted_seqlen: int = 0

    @property
    def holds_kv(self) -> bool:
        return self.req_pool_idx is not None

    @property
    def is_kv_released(self) -> bool:
        return self.kv_allocated_len == 0

    def mark_kv_released(self) -> None:
        self.kv_allocated_len = 0


class _TellsLength(_CutsArray):
    """From 0.5.16: the caller passes the length to the cache."""

    __slots__ = ()

    kv: Any

    def computed(self, length: int) -> None:
        super().computed(length)
        self.kv.kv_allocated_len = length

    def effective_kv_committed_len(self) -> int:
        return self.owned()


class SizedReq(_TellsLength, _PlainReq):
    """0.5.16 and 0.5.17."""

    __slots__ = ("kv",)

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.kv = Allocated()


class SaltedReq(SizedReq):
    """0.5.18: a salt beside ``extra_key``."""

    __slots__ = ("cache_salt",)
    KEY = KeyParts._fields


class KvReq(_TellsLength):
    """From 0.5.19: row and lengths are in ``kv``."""

    __slots__ = ("cache_salt", "kv")
    KEY = KeyParts._fields

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.kv = Kv()

    @property
    def home(self) -> Any:
        return self.kv


# -- the scheduler ---------------------------------------------------------------------------------


class Scheduler(OneByOne):
    """The scheduler of a HiRadixCache."""

    calls: Calls

    def begin(self, o: op.BeginRequest) -> Admitted | OutOfMemory:
        calls, cache = self.calls, self.calls.cache
        request = self._admitted(o)
        req = request.req
        matched = calls.look_up(calls.prompt_key(o.tokens, o.namespace))
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
        self._take_row(request)
        self.running[o.request] = request
        return self._extend(request, o.chunk) or Admitted(
            device_length, prefix_length - device_length
        )

    def _take_row(self, request: Running) -> None:
        """A row of req_to_token, with the prefix in it."""
        rows, req = self.calls.rows, request.req
        if rows.alloc([req]) is None:
            raise RuntimeError("more requests than rows in req_to_token_pool")
        prefix = req.prefix_indices
        rows.write((req.home.req_pool_idx, slice(0, len(prefix))), prefix)
        req.computed(len(prefix))
        req.fill(len(prefix))

    def _checkpoint(self, request: Running, chunked: bool) -> None:
        self.calls.cache.cache_unfinished_req(request.req, chunked=chunked)

    def _before_decode(self, request: Running) -> None:
        """All KV of a request stays."""

    def _end_of_batch(self) -> None:
        """Writes start when they are decided."""

    def _release(self, number: int, keep: bool) -> Done:
        req = self.running.pop(number).req
        self.calls.common.release_kv_cache(req, self.calls.cache, is_insert=keep)
        return Done()
