"""What the targets of both caches do alike, once their operations are told apart."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Any

from hicache_impl.sglang.build import Parts
from hicache_impl.sglang.forward import Forward
from hicache_impl.sglang.observe import Buffers
from hicache_model import operations as op
from hicache_model.configuration import Configuration
from hicache_model.keys import keys_of
from hicache_model.outcomes import (
    Done,
    Evicted,
    Inserted,
    LoadedBack,
    LoadsStarted,
    Matched,
    Outcome,
    OutOfMemory,
)
from hicache_model.snapshot import Path, Snapshot


class DrivenTarget(ABC):
    """A real cache behind calls whose names both caches share.

    A subclass fills ``_perform`` with a method for each operation, and says how it is looked into.
    """

    _observer: Any
    _perform: dict[type[Any], Callable[[Any], Outcome]]

    def __init__(
        self, parts: Parts, configuration: Configuration, trusting: bool, calls: Any
    ) -> None:
        self.parts, self.configuration = parts, configuration
        self._calls, self._cache = calls, parts.cache
        self._device_kv = Buffers(parts.device_pool.k_buffer, parts.device_pool.v_buffer)
        self._forward = Forward(parts, self._device_kv)
        self._locks: list[Any] = []
        self._host_locks: list[Any] = []
        self._fresh = not trusting

    def _operations(self, scheduler: Any) -> dict[type[Any], Callable[[Any], Outcome]]:
        """What performs each operation; those on requests, ``scheduler``."""
        return {
            op.Match: self._match,
            op.Insert: self._insert,
            op.EvictDevice: self._evict_device,
            op.EvictHost: self._evict_host,
            op.LoadBack: self._load_back,
            op.StartLoads: self._start_loads,
            op.Lock: self._lock,
            op.Unlock: self._unlock,
            op.LockHost: self._lock_host,
            op.UnlockHost: self._unlock_host,
            op.CompleteWrites: self._complete_writes,
            op.CompleteLoads: self._complete_loads,
            op.Reset: self._reset,
            op.BeginRequest: scheduler.begin,
            op.ExtendRequest: scheduler.extend,
            op.DecodeRequest: scheduler.decode,
            op.FinishRequest: scheduler.finish,
            op.RetractRequest: scheduler.retract,
            op.AbortRequest: scheduler.abort,
        }

    def perform(self, operation: op.Operation) -> Outcome:
        return self._perform[type(operation)](operation)

    def observe(self, fresh: bool = False) -> Snapshot:
        """The complete state; ``fresh`` looks again at what seems unchanged."""
        seen: Snapshot = self._observer.observe(fresh or self._fresh)
        return seen

    def observe_at(self, paths: Iterable[Path]) -> Snapshot:
        seen: Snapshot = self._observer.observe_at(paths)
        return seen

    # -- lookup and contents

    @abstractmethod
    def _match(self, o: op.Match) -> Matched: ...

    @abstractmethod
    def _insert(self, o: op.Insert) -> Inserted | OutOfMemory: ...

    # -- eviction

    def _evict_device(self, o: op.EvictDevice) -> Evicted:
        result = self._cache.evict(self._calls.base.EvictParams(num_tokens=o.count))
        return Evicted(result.num_tokens_evicted)

    def _evict_host(self, o: op.EvictHost) -> Done:
        self._cache.evict_host(o.count)
        return Done()

    # -- locks

    def _lock(self, o: op.Lock) -> Done:
        node = self._calls.match(o.tokens, o.namespace).last_device_node
        if not self._calls.is_root(node):
            self._locks.append(self._calls.lock(node))
        return Done()

    def _unlock(self, o: op.Unlock) -> Done:
        self._calls.unlock(self._take(self._locks, o, "lock"))
        return Done()

    def _lock_host(self, o: op.LockHost) -> Done:
        """The last node of the match with a host copy: callers pin only those, or the root."""
        matched = self._calls.match(o.tokens, o.namespace)
        node = self._calls.backed_up_from(matched.last_host_node)
        if node is not None:
            self._host_locks.append(self._calls.pin(node))
        return Done()

    def _unlock_host(self, o: op.UnlockHost) -> Done:
        self._calls.unpin(self._take(self._host_locks, o, "pin"))
        return Done()

    def _take(self, held: list[Any], o: op.Unlock | op.UnlockHost, what: str) -> Any:
        """Remove and return what holds a node whose path is exactly what the operation names."""
        wanted = Path(o.namespace, keys_of(o.tokens, bigram=self.configuration.bigram))
        for index, one in enumerate(held):
            if self._observer.nodes.path(self._calls.held_node(one)) == wanted:
                return held.pop(index)
        raise KeyError(f"no {what} is held on {wanted}")

    # -- transfers

    @abstractmethod
    def _load_back(self, o: op.LoadBack) -> LoadedBack: ...

    def _start_loads(self, o: op.StartLoads) -> LoadsStarted:
        return LoadsStarted(self._forward.start_loads())

    def _complete_writes(self, o: op.CompleteWrites) -> Done:
        return self._complete(self.parts.controller.ack_write_queue[: o.count])

    def _complete_loads(self, o: op.CompleteLoads) -> Done:
        return self._complete(self.parts.controller.ack_load_queue[: o.count])

    def _complete(self, acks: list[Any]) -> Done:
        for ack in acks:
            ack.finish_event.synchronize()
        self._cache.check_hicache_events()
        return Done()

    # -- all of it

    def _reset(self, o: op.Reset) -> Done:
        """flush_cache of the scheduler."""
        self._cache.reset()
        self._calls.rows.clear()
        self._calls.allocator.clear()
        self._locks.clear()
        self._host_locks.clear()
        return Done()
