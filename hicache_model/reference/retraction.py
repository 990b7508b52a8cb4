"""Retraction to the host: a request's KV waits there while others have its device memory.

So does a server that only decodes: it cannot compute a prompt again (schedule_batch.py, release_req
and disaggregation/decode.py, resume_retracted_reqs; the backend ``host_pool``).
"""

from __future__ import annotations

from hicache_model import operations as ops
from hicache_model.outcomes import Done, Outcome, OutOfMemory, Retracted
from hicache_model.reference.requests import Requests


class Retraction(Requests):
    """What waits on the host is no node's, and no eviction touches it.

    Who waits for a copy on a stream waits for all that were started on it before: those are done
    then, and the cache notices when it looks the next time.
    """

    def free_number(self) -> int:
        """The least number that no request has, be it running or waiting on the host."""
        taken = self.requests.keys() | self.retracted.keys()
        return next(n for n in range(len(taken) + 1) if n not in taken)

    def _op_retract_to_host(self, op: ops.RetractToHost) -> Outcome:
        running = self.requests[op.request]
        saved = self._take_host_room(self.pages(running.computed))
        del self.requests[op.request]
        self._release(running)
        if saved:
            self.arrived_writes = len(self.writes)
            running.anchor, running.protected, running.inserted = self.tree.root, 0, 0
            self.retracted[op.request] = running
        return Retracted(saved)

    def _take_host_room(self, length: int) -> bool:
        """Evict as much as is needed, not only what is missing, where too little is free."""
        if self.host_free() < length:
            self.evict_host(length)
        return self.host_free() >= length

    def _op_resume_request(self, op: ops.ResumeRequest) -> Outcome:
        """All its KV gets new slots, whatever the tree has of it by now; then the tree gets it."""
        running = self.retracted[op.request]
        length = self.pages(running.computed)
        free = self.device_free()
        if free < length:
            self.evict_device(length - free)
        if self.device_free() < length:
            return OutOfMemory(running.computed)
        self.arrived_loads = len(self.started_loads)
        self.requests[op.request] = self.retracted.pop(op.request)
        self._cache_unfinished(running, chunked=False)
        self._start_writes()
        return Done()

    def _op_abort_request(self, op: ops.AbortRequest) -> Outcome:
        if self.retracted.pop(op.request, None) is not None:
            return Done()
        return super()._op_abort_request(op)

    # -- what is noticed ---------------------------------------------------------------------------

    def _op_complete_writes(self, op: ops.CompleteWrites) -> Outcome:
        return self._look(op.count, 0)

    def _op_complete_loads(self, op: ops.CompleteLoads) -> Outcome:
        return self._look(0, op.count)

    def _look(self, writes: int, loads: int) -> Outcome:
        """So many transfers are done, and whatever was done before; the cache notices all."""
        writes, loads = max(writes, self.arrived_writes), max(loads, self.arrived_loads)
        self.arrived_writes = self.arrived_loads = 0
        if writes:
            super()._op_complete_writes(ops.CompleteWrites(writes))
        if loads:
            super()._op_complete_loads(ops.CompleteLoads(loads))
        return Done()
