"""Detaching the storage must give back what a prefetch held that was given up.

A request does not wait for its prefetch under best_effort: it is admitted, and what was not read in
time is given back when the storage has answered, with the acknowledgement. Nothing counts such a
prefetch, so that the storage can be detached meanwhile; detaching drains no acknowledgements of
prefetches, and attaching begins with new queues. The slots stay lost until the cache is flushed.

Found by hicache-verify on SGLang 0.5.22 and 0.5.23, with both tree cores.
"""

import json
import sys
import threading
import time
import unittest
from array import array
from types import SimpleNamespace
from unittest import mock

import torch

from sglang.srt.mem_cache.allocator import TokenToKVPoolAllocator
from sglang.srt.mem_cache.base_prefix_cache import CacheRequestHandle, MatchPrefixParams
from sglang.srt.mem_cache.cache_init_params import CacheInitParams
from sglang.srt.mem_cache.hicache_storage import HiCacheStorage
from sglang.srt.mem_cache.memory_pool import MHATokenToKVPool, ReqToTokenPool
from sglang.srt.mem_cache.radix_cache import RadixKey
from sglang.srt.mem_cache.unified_cache.components import ComponentType
from sglang.srt.mem_cache.unified_radix_cache import UnifiedRadixCache

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
DEVICE_SLOTS = 12
GROUPS = "memory model observability parallel serving".split()
GETTERS = {"get_" + group for group in GROUPS}
SIZES = "tp_size pp_size attn_tp_size attn_dcp_size launch_world_size nnodes".split()
RANKS = "tp_rank pp_rank attn_tp_rank attn_dp_rank attn_dcp_rank".split()

PROMPT = [1, 2, 3, 4, 5]


class SlowStorage(HiCacheStorage):
    """Has every page, and reads none before it answers."""

    answers, is_reading = threading.Event(), threading.Event()

    def __init__(self, *args):
        pass

    def batch_exists(self, keys, extra_info=None):
        return len(keys)

    def batch_get_v1(self, keys, host_indices, extra_info=None):
        self.is_reading.set()
        return [self.answers.wait(timeout=60)] * len(keys)

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


class TestDetachedPrefetch(unittest.TestCase):
    core = "python"

    def test_what_a_prefetch_held_is_free_when_the_storage_is_detached(self):
        handle = self.prefetch(PROMPT)
        self.until(SlowStorage.is_reading.is_set)
        self.assertTrue(self.cache.check_prefetch_progress(handle), "the request is admitted")
        self.assertTrue(self.is_idle())

        threading.Timer(0.5, SlowStorage.answers.set).start()
        detached, message = self.cache.detach_storage_backend()

        self.assertTrue(detached, message)
        host_pool = self.cache.cache_controller.mem_pool_host
        self.assertEqual(host_pool.available_size(), host_pool.size)

    # -- what a scheduler does

    def prefetch(self, tokens):
        """_prefetch_kvcache of a request that arrives, which finds nothing"""
        key = RadixKey(array("q", tokens), limit=len(tokens) - 1)
        match = self.cache.match_prefix(MatchPrefixParams(key=key))
        handle = CacheRequestHandle(rid="0", attempt_id=0)
        self.cache.prefetch_from_storage(
            handle, match.last_host_node, array("q", tokens[:-1]), matched_prefix_tokens=[]
        )
        return handle

    def is_idle(self):
        """is_fully_idle, which is asked before the storage is detached"""
        cache = self.cache
        pending = (
            cache.ongoing_write_through,
            cache.ongoing_load_back,
            cache.ongoing_prefetch,
            cache.ongoing_backup,
        )
        return not any(pending)

    def until(self, done):
        """The event loop, as long as the storage needs it."""
        deadline = time.monotonic() + 60
        while not done():
            self.assertLess(time.monotonic(), deadline)
            self.cache.check_hicache_events()
            time.sleep(0.001)

    # -- one cache

    def setUp(self):
        SlowStorage.answers.clear()
        SlowStorage.is_reading.clear()
        server_args = self.settings()
        rows = ReqToTokenPool(
            size=4,
            max_context_len=DEVICE_SLOTS,
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
        self.addCleanup(SlowStorage.answers.set)

    def settings(self):
        storage = {
            "backend_name": "slow",
            "module_path": __name__,
            "class_name": "SlowStorage",
            "interface_v1": 1,
            "prefetch_threshold": 1,
        }
        server_args = SimpleNamespace(
            hicache_ratio=2.0,
            hicache_size=0,
            hicache_mem_layout="layer_first",
            hicache_io_backend="direct",
            hicache_host_memory_mode="cache",
            hicache_write_policy="write_through",
            hicache_storage_backend="dynamic",
            hicache_storage_backend_extra_config=json.dumps(storage),
            hicache_storage_prefetch_policy="best_effort",
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


class TestDetachedPrefetchRust(TestDetachedPrefetch):
    core = "rust"


if __name__ == "__main__":
    unittest.main()
