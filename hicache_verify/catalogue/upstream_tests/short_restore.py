"""What a decode server promises to restore from the host must be restored, however short it is.

With --disaggregation-decode-enable-radix-cache and HiCache a decode server counts what it finds on
the host to the prefix that the prefill server need not send, and loads it while the rest is sent.
The cache loads nothing that is shorter than load_back_threshold, 10 tokens: the restore of 1 to 9
tokens, which pages below 10 tokens allow, fails each time, and with it the request.

Found by hicache-verify on SGLang 0.5.22 and 0.5.23, with both tree cores.
"""

import sys
import unittest
from array import array
from types import SimpleNamespace
from unittest import mock

import torch

from sglang.srt.disaggregation.decode_hicache_mixin import (
    DecodeHiCachePreallocMixin,
    DecodeHiCacheTransferMixin,
    HiCacheRestoreResult,
)
from sglang.srt.mem_cache.allocator import TokenToKVPoolAllocator
from sglang.srt.mem_cache.base_prefix_cache import EvictParams, InsertParams
from sglang.srt.mem_cache.cache_init_params import CacheInitParams
from sglang.srt.mem_cache.common import match_kv_cache
from sglang.srt.mem_cache.memory_pool import MHATokenToKVPool, ReqToTokenPool
from sglang.srt.mem_cache.radix_cache import RadixKey
from sglang.srt.mem_cache.unified_cache.components import ComponentType
from sglang.srt.mem_cache.unified_radix_cache import UnifiedRadixCache

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
DEVICE_SLOTS = 32
GROUPS = "memory model observability parallel serving".split()
GETTERS = {"get_" + group for group in GROUPS}
SIZES = "tp_size pp_size attn_tp_size attn_dcp_size launch_world_size nnodes".split()
RANKS = "tp_rank pp_rank attn_tp_rank attn_dp_rank attn_dcp_rank".split()


class Req(SimpleNamespace):
    def _compute_max_prefix_len(self, input_len):
        return input_len - 1


class Queue(DecodeHiCachePreallocMixin, DecodeHiCacheTransferMixin):
    """DecodePreallocQueue and DecodeTransferQueue, as far as they restore"""

    def __init__(self, tree_cache):
        self.tree_cache = tree_cache
        self.scheduler = SimpleNamespace(enable_decode_hicache=True)


class TestShortRestore(unittest.TestCase):
    core = "python"

    def test_ten_tokens_are_restored_and_nine(self):
        self.restore(range(10))
        self.restore(range(20, 29))

    def test_one_token_is_restored(self):
        self.restore([1])

    def restore(self, tokens):
        tokens = array("q", tokens)
        self.move_to_host(tokens)
        queue = Queue(self.cache)
        request = self.prealloc(queue, tokens + array("q", [60]))
        self.assertEqual(request.prefix_match.decode_prefix_len, len(tokens))

        queue._process_hicache_local_restores([request])
        for ack in self.cache.cache_controller.ack_load_queue:
            ack.finish_event.synchronize()
        queue._process_hicache_local_restores([request])

        # A request whose restore has failed is answered with status 500 (pop_transferred).
        self.assertEqual(request.hicache_restore_status, HiCacheRestoreResult.READY)

    # -- what a decode server does

    def move_to_host(self, tokens):
        params = InsertParams(key=RadixKey(tokens), value=self.allocator.alloc(len(tokens)))
        self.cache.insert(params)
        self.cache.flush_pending_backups()
        for ack in self.cache.cache_controller.ack_write_queue:
            ack.finish_event.synchronize()
        self.cache.check_hicache_events()
        self.cache.evict(EvictParams(num_tokens=len(tokens)))

    def prealloc(self, queue, tokens):
        """_match_prefix_and_lock"""
        req = Req(
            rid="0",
            origin_input_ids=tokens,
            output_ids=array("q"),
            extra_key=None,
            cache_salt=None,
            session=None,
            kv=SimpleNamespace(cache_protected_len=0, holds_mamba=False, mamba_pool_idx=None),
            swa_host_hit_length=0,
            mamba_host_hit_length=0,
            mamba_branching_seqlen=None,
        )
        result = match_kv_cache(req, self.cache, tokens, cow_mamba=False)
        req.lock = self.cache.lock(result.last_device_node)
        return SimpleNamespace(
            req=req,
            prefix_match=queue._build_decode_prefix_match(req, result),
            hicache_restore_status=HiCacheRestoreResult.PENDING,
            hicache_restore_lock=None,
            hicache_restored_kv_indices=None,
            hicache_load_consumer_index=-1,
        )

    # -- one cache

    def setUp(self):
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

    def settings(self):
        server_args = SimpleNamespace(
            hicache_ratio=2.0,
            hicache_size=0,
            hicache_mem_layout="layer_first",
            hicache_io_backend="direct",
            hicache_host_memory_mode="cache",
            hicache_write_policy="write_through",
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


class TestShortRestoreRust(TestShortRestore):
    core = "rust"


if __name__ == "__main__":
    unittest.main()
