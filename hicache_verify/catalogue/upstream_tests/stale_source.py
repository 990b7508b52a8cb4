"""A request must not go on from a Mamba state that its last lookup did not find.

A lookup for admission takes a slot for the request and notes the state to be copied there. Admission
may come to nothing, and the request keeps the slot: where it asks the storage for more (the note
stays), or belongs to a session (the note goes). The next lookup changes nothing of that if it finds
no state on the device: what the host has is loaded, and the old state is copied over it; or there
is no state at all, and the slot is used as its last owner left it.

Found by hicache-verify on SGLang 0.5.22 and 0.5.23, with both tree cores.
"""

import sys
import unittest
from array import array
from types import SimpleNamespace
from unittest import mock

import torch

from sglang.srt.mem_cache.allocator import TokenToKVPoolAllocator
from sglang.srt.mem_cache.base_prefix_cache import (
    EvictParams,
    InitLoadBackParams,
    InsertParams,
    MatchPrefixParams,
)
from sglang.srt.mem_cache.cache_init_params import CacheInitParams
from sglang.srt.mem_cache.memory_pool import HybridLinearKVPool, HybridReqToTokenPool
from sglang.srt.mem_cache.radix_cache import RadixKey
from sglang.srt.mem_cache.unified_cache.components import ComponentType
from sglang.srt.mem_cache.unified_radix_cache import UnifiedRadixCache

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
DEVICE_SLOTS = 8
HOST_SLOTS = 12
GROUPS = "exec memory model observability parallel serving".split()
GETTERS = {"get_" + group for group in GROUPS}
SIZES = "tp_size pp_size attn_tp_size attn_dcp_size launch_world_size nnodes".split()
RANKS = "tp_rank pp_rank attn_tp_rank attn_dp_rank attn_dcp_rank".split()


class Kv(SimpleNamespace):
    """ReqKvInfo"""

    holds_mamba = property(lambda self: self.mamba_pool_idx is not None)


class TestStaleSource(unittest.TestCase):
    core = "python"

    def test_what_is_loaded_is_not_overwritten(self):
        self.insert([1, 2])
        req = self.request([1, 2, 3, 4])
        self.look_up(req)  # less than when it came: asks the storage again, and waits
        self.insert([1, 2, 3, 4])
        self.cache.evict(EvictParams(num_tokens=2))

        self.look_up(req)
        self.load_back(req)

        self.assertEqual(req.prefix_len, 4)
        self.assertIsNone(req.kv.mamba_cow_src_index, "another state is copied over the loaded one")
        self.assertFalse(req.kv.mamba_needs_clear, "the loaded state is cleared")

    def test_what_is_gone_is_not_copied(self):
        self.insert([1, 2])
        req = self.request([1, 2, 3, 4])
        self.look_up(req)
        self.drop([1, 2])

        self.look_up(req)

        self.assertEqual(req.prefix_len, 0)
        self.assertIsNone(req.kv.mamba_cow_src_index, "a state is copied from a free slot")

    def test_a_slot_that_a_session_kept_is_cleared(self):
        self.insert([1, 2])
        req = self.request([1, 2, 3, 4])
        self.look_up(req)
        req.kv.mamba_cow_src_index, req.kv.mamba_needs_clear = None, False  # it was not admitted
        self.drop([1, 2])

        self.look_up(req)

        self.assertEqual(req.prefix_len, 0)
        self.assertTrue(req.kv.mamba_needs_clear, "its state begins with what lies in the slot")

    def setUp(self):
        server_args = self.settings()
        self.rows = HybridReqToTokenPool(
            size=4,
            mamba_size=6,
            mamba_spec_state_size=4,
            max_context_len=64,
            device=DEVICE,
            enable_memory_saver=False,
            cache_params=SimpleNamespace(
                shape=SimpleNamespace(conv=[(1,)], temporal=(1,)),
                dtype=SimpleNamespace(conv=torch.float32, temporal=torch.float32),
                is_kda=False,
            ),
            mamba_layer_ids=[1],
            enable_mamba_extra_buffer=False,
        )
        kv_pool = HybridLinearKVPool(
            size=DEVICE_SLOTS,
            dtype=torch.float32,
            page_size=1,
            head_num=1,
            head_dim=16,
            full_attention_layer_ids=[0],
            device=DEVICE,
            mamba_pool=self.rows.mamba_pool,
        )
        self.allocator = TokenToKVPoolAllocator(
            size=DEVICE_SLOTS,
            dtype=torch.float32,
            device=DEVICE,
            kvcache=kv_pool,
            need_sort=False,
        )
        params = CacheInitParams(
            disable=False,
            req_to_token_pool=self.rows,
            token_to_kv_pool_allocator=self.allocator,
            page_size=1,
            tree_components=(ComponentType.FULL, ComponentType.MAMBA),
            tree_core_backend=self.core,
        )
        self.cache = UnifiedRadixCache(params)
        if self.cache._tree_core_backend != self.core:
            self.skipTest(f"there is no {self.core} tree core here")
        self.cache.init_hicache(server_args, params)
        self.cache.load_back_threshold = 1

    def settings(self):
        server_args = SimpleNamespace(
            # The ratio from which this release makes exactly HOST_SLOTS.
            hicache_ratio=(HOST_SLOTS - 0.5) / DEVICE_SLOTS,
            hicache_size=0,
            hicache_mem_layout="page_first_direct",
            hicache_io_backend="direct",
            hicache_host_memory_mode="cache",
            hicache_write_policy="write_back",
            hicache_storage_backend=None,
            hicache_storage_backend_extra_config=None,
            hicache_storage_prefetch_policy="best_effort",
            served_model_name="none",
            extra_metric_labels=None,
            mamba=SimpleNamespace(
                enable_int8_mamba_checkpoint=False,
                enable_mamba_extra_buffer=False,
                enable_mamba_extra_buffer_lazy=False,
                mamba_max_states_per_path=-1,
            ),
        )
        # One process; wherever this release looks for a setting, it finds this one.
        context = SimpleNamespace(
            **vars(server_args),
            **dict.fromkeys(SIZES, 1),
            **dict.fromkeys(RANKS, 0),
            dcp_enabled=False,
            pp_group=None,
        )
        answers = dict.fromkeys(GETTERS, lambda: context)
        answers["mamba_cache_chunk_size"] = lambda: 1
        answers["mamba_checkpoint_grid"] = lambda page: page
        for name, module in list(sys.modules.items()):
            for getter in answers.keys() & vars(module).keys():
                if name.startswith("sglang."):
                    patched = mock.patch.object(module, getter, answers[getter])
                    patched.start()
                    self.addCleanup(patched.stop)
        return server_args

    def key(self, tokens):
        return RadixKey(array("q", tokens))

    def insert(self, tokens):
        """The end of a request: its KV and its state go to the cache, duplicates are freed."""
        state = self.rows.mamba_allocator.alloc(1)
        params = InsertParams(
            key=self.key(tokens),
            value=self.allocator.alloc(len(tokens)),
            mamba_value=state,
        )
        if self.cache.insert(params).mamba_exist:
            self.rows.mamba_allocator.free(state)

    def drop(self, tokens):
        """Others need the memory, on the device and on the host."""
        self.cache.evict(EvictParams(num_tokens=len(tokens)))
        self.cache.evict_host(len(tokens))

    def request(self, tokens):
        kv = Kv(mamba_pool_idx=None, mamba_cow_src_index=None, mamba_needs_clear=False)
        return SimpleNamespace(rid="0", tokens=tokens, kv=kv, session=None)

    def look_up(self, req):
        """init_next_round_input of schedule_batch.py"""
        params = MatchPrefixParams(key=self.key(req.tokens), cow_mamba=True, req=req)
        req.match = self.cache.match_prefix(params)
        req.last_node = req.match.last_device_node
        req.prefix_len = req.match.device_prefix_len

    def load_back(self, req):
        """As in add_one_req of schedule_policy.py."""
        req.swa_host_hit_length = req.match.swa_host_hit_length
        req.mamba_host_hit_length = req.match.mamba_host_hit_length
        params = InitLoadBackParams(
            best_match_node=req.match.best_match_node,
            host_hit_length=req.match.host_hit_length,
            req=req,
        )
        loaded, req.last_node = self.cache.init_load_back(params)
        req.prefix_len += loaded


class TestStaleSourceRust(TestStaleSource):
    core = "rust"


if __name__ == "__main__":
    unittest.main()
