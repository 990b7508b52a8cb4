"""An eviction must not come short of a window that is only being written.

Under write_back an insert that fills the window of a node whose full KV is backed up queues a write
of that window, which locks the node. An eviction passes locked nodes, and waits for the write only
at its end: it frees less than was asked for, although nobody uses the memory.

Found by hicache-verify on SGLang 0.5.21 and 0.5.22, with both tree cores; 0.5.23 writes no window
then.
"""

import sys
import unittest
from array import array
from types import SimpleNamespace
from unittest import mock

import torch

from sglang.srt.mem_cache.allocator.swa import SWATokenToKVPoolAllocator
from sglang.srt.mem_cache.base_prefix_cache import EvictParams, InsertParams
from sglang.srt.mem_cache.cache_init_params import CacheInitParams
from sglang.srt.mem_cache.memory_pool import ReqToTokenPool
from sglang.srt.mem_cache.radix_cache import RadixKey
from sglang.srt.mem_cache.swa_memory_pool import SWAKVPool
from sglang.srt.mem_cache.unified_cache.components import ComponentType
from sglang.srt.mem_cache.unified_radix_cache import UnifiedRadixCache

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
SLOTS = 8
WINDOW = 3
GROUPS = "memory model observability parallel serving".split()
GETTERS = {"get_" + group for group in GROUPS}
SIZES = "tp_size pp_size attn_tp_size attn_dcp_size launch_world_size nnodes".split()
RANKS = "tp_rank pp_rank attn_tp_rank attn_dp_rank attn_dcp_rank".split()


class TestUnawaitedWindow(unittest.TestCase):
    core = "python"

    def test_a_window_that_is_being_written_can_be_evicted(self):
        self.insert([1, 2, 3, 4])
        # The window of [1] goes to the host, from there nowhere, and is filled again.
        self.cache.evict(EvictParams(swa_num_tokens=1))
        self.cache.evict_host(1, ComponentType.SWA)
        self.insert([1])

        evicted = self.cache.evict(EvictParams(swa_num_tokens=4))

        self.assertEqual(evicted.swa_num_tokens_evicted, 4)

    def setUp(self):
        server_args = self.settings()
        rows = ReqToTokenPool(
            size=1,
            max_context_len=SLOTS,
            device=DEVICE,
            enable_memory_saver=False,
        )
        kv_pool = SWAKVPool(
            size=SLOTS,
            size_swa=SLOTS,
            page_size=1,
            dtype=torch.float32,
            head_num=1,
            head_dim=16,
            full_attention_layer_ids=[0],
            swa_attention_layer_ids=[1],
            device=DEVICE,
            enable_memory_saver=False,
        )
        self.allocator = SWATokenToKVPoolAllocator(
            size=SLOTS,
            size_swa=SLOTS,
            page_size=1,
            dtype=torch.float32,
            device=DEVICE,
            kvcache=kv_pool,
            need_sort=False,
        )
        params = CacheInitParams(
            disable=False,
            req_to_token_pool=rows,
            token_to_kv_pool_allocator=self.allocator,
            page_size=1,
            sliding_window_size=WINDOW,
            tree_components=(ComponentType.FULL, ComponentType.SWA),
            tree_core_backend=self.core,
        )
        self.cache = UnifiedRadixCache(params)
        if self.cache._tree_core_backend != self.core:
            self.skipTest(f"there is no {self.core} tree core here")
        self.cache.init_hicache(server_args, params)

    def settings(self):
        server_args = SimpleNamespace(
            hicache_ratio=2.0,
            hicache_size=0,
            hicache_mem_layout="layer_first",
            hicache_io_backend="direct",
            hicache_host_memory_mode="cache",
            hicache_write_policy="write_back",
            hicache_storage_backend=None,
            hicache_storage_backend_extra_config=None,
            hicache_storage_prefetch_policy="best_effort",
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

    def insert(self, tokens):
        """The end of a request: its KV goes to the cache, which frees duplicates."""
        params = InsertParams(
            key=RadixKey(array("q", tokens)),
            value=self.allocator.alloc(len(tokens)),
        )
        self.cache.insert(params)


class TestUnawaitedWindowRust(TestUnawaitedWindow):
    core = "rust"


if __name__ == "__main__":
    unittest.main()
