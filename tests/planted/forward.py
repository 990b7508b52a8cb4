"""Planted bugs in what a forward pass waits for before it reads what is being loaded."""

from __future__ import annotations

from hicache_model.operations import BeginRequest, EvictDevice, Insert
from tests.planted.bug import BACK, CONTROLLER, TRANSFER, Edit, Planted, Witness

DEVICE_POOL = "sglang.srt.mem_cache.memory_pool"

#: The prefix of a request lies on the host only.
COMES_BACK = (Insert((1,)), EvictDevice(1), BeginRequest(0, (1, 2), 1))

FORWARD = (
    Planted(
        "pool_is_not_told_of_loads",
        BACK,
        ("read-after-load",),
        (
            Edit(
                CONTROLLER,
                """
@@ __init__
         self.layer_done_counter = LayerDoneCounter(self.layer_num)
-        self.mem_pool_device.register_layer_transfer_counter(self.layer_done_counter)
""",
            ),
        ),
        Witness("read-after-load", COMES_BACK),
    ),
    Planted(
        "layer_is_done_before_its_copy",
        BACK,
        ("read-after-load",),
        (
            Edit(
                TRANSFER,
                """
@@ submit_host_to_device
             for layer_id in range(layer_num):
+                on_layer_done(layer_id)
                 for transfer in transfers:
""",
            ),
            Edit(
                TRANSFER,
                """
@@ submit_host_to_device
-                if on_layer_done is not None:
-                    on_layer_done(layer_id)
""",
            ),
        ),
        Witness("read-after-load", COMES_BACK),
    ),
    Planted(
        "batch_is_given_the_load_before",
        BACK,
        ("read-after-load",),
        (
            Edit(
                CONTROLLER,
                """
@@ start_loading
                 num_bytes=self._transfer_num_bytes(op),
             )
         )
-        return producer_id
+        return (producer_id - 1) % self.layer_done_counter.num_counters
""",
            ),
        ),
    ),
    Planted(
        "keys_wait_for_the_first_layer_alone",
        BACK,
        ("read-after-load",),
        (
            Edit(
                DEVICE_POOL,
                """
@@ MHATokenToKVPool.get_key_buffer
         # same applies to get_value_buffer and get_kv_buffer
-        if self.layer_transfer_counter is not None:
-            self.layer_transfer_counter.wait_until(layer_id - self.start_layer)
+        if self.layer_transfer_counter is not None and layer_id == self.start_layer:
+            self.layer_transfer_counter.wait_until(0)
         return self._get_key_buffer(layer_id)
""",
            ),
        ),
    ),
)
