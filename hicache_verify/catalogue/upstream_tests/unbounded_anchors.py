"""What staged prefetches pin must leave room for the largest request.

With --hicache-host-memory-mode buffer_only a request that waits pins what it found on the device,
from the read of its storage hit on until it is admitted. All pins together are to leave room for a
request of the model's context length: one at the head of the queue waits for memory, those behind
it are not looked at, and nothing that runs gives memory back. The context length is taken from
--context-length, which is None unless it is given.

Found by hicache-verify on SGLang 0.5.22 and 0.5.23, with both tree cores.
"""

import json
import sys
import time
import unittest
from array import array
from types import SimpleNamespace
from unittest import mock

import torch

from sglang.srt.mem_cache.allocator import TokenToKVPoolAllocator
from sglang.srt.mem_cache.base_prefix_cache import (
    CacheRequestHandle,
    InsertParams,
    MatchPrefixParams,
)
from sglang.srt.mem_cache.cache_init_params import CacheInitParams
from sglang.srt.mem_cache.hicache_storage import HiCacheStorage
from sglang.srt.mem_cache.memory_pool import MHATokenToKVPool, ReqToTokenPool
from sglang.srt.mem_cache.radix_cache import RadixKey
from sglang.srt.mem_cache.unified_cache.components import ComponentType
from sglang.srt.mem_cache.unified_radix_cache import UnifiedRadixCache

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
DEVICE_SLOTS = 12
CONTEXT_LEN = 8
GROUPS = "memory model observability parallel serving".split()
GETTERS = {"get_" + group for group in GROUPS}
SIZES = "tp_size pp_size attn_tp_size attn_dcp_size launch_world_size nnodes".split()
RANKS = "tp_rank pp_rank attn_tp_rank attn_dp_rank attn_dcp_rank".split()

CACHED, PROMPT = [1, 2, 3, 4, 5], [1, 2, 3, 4, 5, 6, 7]


class FullStorage(HiCacheStorage):
    """Has every page."""

    def __init__(self, *args):
        pass

    def batch_exists(self, keys, extra_info=None):
        return len(keys)

    def batch_get_v1(self, keys, host_indices, extra_info=None):
        return [True] * len(keys)

    def batch_set_v1(self, keys, host_indices, extra_info=None):
        return [True] * len(keys)

    def exists(self, key):
        return True

    def get(self, key, target_location=None, target_sizes=None):
        return None

    def batch_get(self, keys, target_locations=None, target_sizes=None):
        return [None] * len(keys)

    def set(self, key, value=None, target_location=None, target_sizes=None):
        return True

    def batch_set(self, keys, values=None, target_locations=None, target_sizes=None):
        return True


class TestUnboundedAnchors(unittest.TestCase):
    core = "python"

    def test_the_largest_request_fits_when_nothing_runs(self):
        self.insert(CACHED)
        waiting = self.prefetch(PROMPT)

        self.until(lambda: self.pipeline.has_staged(waiting))
        self.until(lambda: not self.pipeline.inflight_backup_node_ids)

        # PrefillBudget.remaining_total
        remaining = self.allocator.available_size() + self.cache.evictable_size()
        self.assertGreaterEqual(remaining, CONTEXT_LEN, "room for a request ahead in the queue")

    # -- what a scheduler does

    def insert(self, tokens):
        """The end of a request: its KV goes to the cache."""
        params = InsertParams(
            key=RadixKey(array("q", tokens)),
            value=self.allocator.alloc(len(tokens)),
        )
        self.cache.insert(params)

    def prefetch(self, tokens):
        """_prefetch_kvcache of a request that arrives"""
        match = self.cache.match_prefix(
            MatchPrefixParams(key=RadixKey(array("q", tokens), limit=len(tokens) - 1))
        )
        found = match.device_prefix_len
        handle = CacheRequestHandle(rid="waiting", attempt_id=0)
        self.cache.prefetch_from_storage(
            handle,
            match.last_device_node,
            array("q", tokens[found:-1]),
            self.cache.get_last_hash_value(match.last_device_node),
            matched_prefix_tokens=array("q", tokens[:found]),
        )
        return handle

    def until(self, done):
        """The event loop, as long as the storage needs it."""
        deadline = time.monotonic() + 60
        while not done():
            self.assertLess(time.monotonic(), deadline)
            self.cache.check_hicache_events()
            for ack in self.cache.cache_controller.ack_write_queue:
                ack.finish_event.synchronize()
            time.sleep(0.001)

    # -- one cache

    def setUp(self):
        server_args = self.settings()
        rows = ReqToTokenPool(
            size=4,
            max_context_len=CONTEXT_LEN,  # of the model
            device=DEVICE,
            enable_memory_saver=False,
        )
        kv_pool = MHATokenToKVPool(
            size=DEVICE_SLOTS,
            page_size=1,
            dtype=torch.float32,
            head_num=1,
            head_dim=16,
            layer_num=1,
            device=DEVICE,
            enable_memory_saver=False,
        )
        self.allocator = TokenToKVPoolAllocator(
            size=DEVICE_SLOTS, dtype=torch.float32, device=DEVICE, kvcache=kv_pool, need_sort=False
        )
        params = CacheInitParams(
            disable=False,
            req_to_token_pool=rows,
            token_to_kv_pool_allocator=self.allocator,
            page_size=1,
            tree_components=(ComponentType.FULL,),
            tree_core_backend=self.core,
        )
        self.cache = UnifiedRadixCache(params)
        if self.cache._tree_core_backend != self.core:
            self.skipTest(f"there is no {self.core} tree core here")
        self.cache.init_hicache(server_args, params)
        self.addCleanup(self.cache.detach_storage_backend)
        self.pipeline = self.cache.buffer_pipeline

    def settings(self):
        storage = {
            "backend_name": "full",
            "module_path": __name__,
            "class_name": "FullStorage",
            "interface_v1": 1,
            "prefetch_threshold": 1,
        }
        server_args = SimpleNamespace(
            context_length=None,  # --context-length is not given
            hicache_ratio=1.2,
            hicache_size=0,
            hicache_mem_layout="layer_first",
            hicache_io_backend="direct",
            hicache_host_memory_mode="buffer_only",
            hicache_write_policy="write_through",
            hicache_storage_backend="dynamic",
            hicache_storage_backend_extra_config=json.dumps(storage),
            hicache_storage_prefetch_policy="wait_complete",
            file_storage_path=None,
            enable_unified_memory=False,
            served_model_name="none",
            extra_metric_labels=None,
        )
        # One process; wherever this release looks for a setting, it finds this one.
        context = SimpleNamespace(
            **vars(server_args),
            **dict.fromkeys(SIZES, 1),
            **dict.fromkeys(RANKS, 0),
            dcp_enabled=False,
            pp_group=None,
        )
        for name, module in list(sys.modules.items()):
            for getter in GETTERS & vars(module).keys():
                if name.startswith("sglang."):
                    patched = mock.patch.object(module, getter, lambda: context)
                    patched.start()
                    self.addCleanup(patched.stop)
        return server_args


class TestUnboundedAnchorsRust(TestUnboundedAnchors):
    core = "rust"


if __name__ == "__main__":
    unittest.main()
