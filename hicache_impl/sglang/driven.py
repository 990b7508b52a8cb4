"""What the targets of both caches do alike, once their operations are told apart."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from hicache_impl.sglang.build import Parts
from hicache_impl.sglang.forward import Forward
from hicache_model import operations as op
from hicache_model.outcomes import Done, Evicted, LoadsStarted, Outcome
from hicache_model.snapshot import Path, Snapshot


class DrivenTarget:
    """A real cache behind calls whose names both caches share.

    A subclass fills ``_perform`` with a method for each operation, and says how it is looked into.
    """

    parts: Parts
    _calls: Any
    _cache: Any
    _locks: list[Any]
    _host_locks: list[Any]
    _forward: Forward
    _observer: Any
    _fresh: bool
    _perform: dict[type[Any], Callable[[Any], Outcome]]

    def perform(self, operation: op.Operation) -> Outcome:
        return self._perform[type(operation)](operation)

    def observe(self, fresh: bool = False) -> Snapshot:
        """The complete state; ``fresh`` looks again at what seems unchanged."""
        seen: Snapshot = self._observer.observe(fresh or self._fresh)
        return seen

    def observe_at(self, paths: Iterable[Path]) -> Snapshot:
        seen: Snapshot = self._observer.observe_at(paths)
        return seen

    def _evict_device(self, o: op.EvictDevice) -> Evicted:
        result = self._cache.evict(self._calls.base.EvictParams(num_tokens=o.count))
        return Evicted(result.num_tokens_evicted)

    def _evict_host(self, o: op.EvictHost) -> Done:
        self._cache.evict_host(o.count)
        return Done()

    def _reset(self, o: op.Reset) -> Done:
        """flush_cache of the scheduler."""
        self._cache.reset()
        self._calls.rows.clear()
        self._calls.allocator.clear()
        self._locks.clear()
        self._host_locks.clear()
        return Done()

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
