"""How a forward pass reads the KV of its prefix: layer by layer, and each when it is there.

Sources: TpModelWorker.forward_batch_generation, which tells the counter of loads which one the
batch waits for (``set_hicache_consumer``), and ``get_key_buffer`` and ``get_value_buffer`` of the
device pool, which wait for the layer before they hand it out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hicache_impl.sglang.build import Parts
from hicache_model.snapshot import Slots

if TYPE_CHECKING:
    from hicache_impl.sglang.observe import Buffers

NO_LOAD = -1


class Forward:
    """The forward passes of one cache, one after the other on the default stream."""

    def __init__(self, parts: Parts, device_kv: Buffers) -> None:
        self.cache = parts.cache
        self.pool, self.device_kv = parts.allocator.get_kvcache(), device_kv
        self.counter = parts.controller.layer_done_counter
        self.waits_for: int = NO_LOAD

    def start_loads(self) -> bool:
        """Start the loads that are queued, if any; the next forward pass waits for them.

        It waits with that for the loads before, too: they are on one stream.
        """
        number: int = self.cache.ready_to_load_host_cache()
        if number != NO_LOAD:
            self.waits_for = number
        return number != NO_LOAD

    def read(self, slots: Any) -> Slots:
        """What these slots hold when each layer is read, as fingerprints."""
        self.counter.set_consumer(self.waits_for)
        self.waits_for = NO_LOAD
        return self._read(slots, self.device_kv, 0)

    def read_window(self, slots: Any, window_kv: Buffers) -> Slots:
        """The same of the layers of a sliding window, which come after all others."""
        return self._read(slots, window_kv, self.device_kv.layers)

    def _read(self, slots: Any, kv: Buffers, first_layer: int) -> Slots:
        rows = []
        for layer in range(first_layer, first_layer + kv.layers):
            rows.append(self.pool.get_key_buffer(layer).view(-1)[slots])
            rows.append(self.pool.get_value_buffer(layer).view(-1)[slots])
        return tuple(kv.decode(*rows))
