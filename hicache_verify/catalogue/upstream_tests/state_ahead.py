"""A Mamba state must not be cached for fewer tokens than it has seen.

With an extra buffer and pages of several tokens a prompt's state is tracked at whole steps from
where its chunk began. A chunk that follows another need not begin with a page: a mixed batch takes
one token of its budget for each request that decodes. The key of the insert is cut to whole pages,
the state is not: it goes to a node that ends before it.

Found by hicache-verify on SGLang 0.5.22 and 0.5.23, with both tree cores.
"""

import sys
import unittest
from array import array
from types import SimpleNamespace
from unittest import mock

import torch

from sglang.srt.mem_cache.allocator import PagedTokenToKVPoolAllocator
from sglang.srt.mem_cache.base_prefix_cache import MatchPrefixParams
from sglang.srt.mem_cache.cache_init_params import CacheInitParams
from sglang.srt.mem_cache.memory_pool import HybridLinearKVPool, HybridReqToTokenPool
from sglang.srt.mem_cache.radix_cache import RadixKey
from sglang.srt.mem_cache.unified_cache.components import ComponentType
from sglang.srt.mem_cache.unified_radix_cache import UnifiedRadixCache

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
DEVICE_SLOTS = 16
PAGE_SIZE = 2
GROUPS = "exec memory model observability parallel serving".split()
GETTERS = {"get_" + group for group in GROUPS}
SIZES = "tp_size pp_size attn_tp_size attn_dcp_size launch_world_size nnodes".split()
RANKS = "tp_rank pp_rank attn_tp_rank attn_dp_rank attn_dcp_rank".split()


class TestStateAhead(unittest.TestCase):
    core = "python"

    def test_the_state_after_five_tokens_is_not_found_after_four(self):
        req = self.running([1, 2, 3, 4, 5, 6], computed=5)  # chunks of 2, 1 and 2 tokens
        req.kv.mamba_last_track_seqlen = 5  # two tokens on from 3, where the last one began

        self.cache.checkpoint(req, up_to=5)

        params = MatchPrefixParams(key=RadixKey(array("q", [1, 2, 3, 4])))
        self.assertEqual(self.cache.match_prefix(params).device_prefix_len, 0)

    def setUp(self):
        self.settings()
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
            enable_mamba_extra_buffer=True,
        )
        kv_pool = HybridLinearKVPool(
            size=DEVICE_SLOTS,
            dtype=torch.float32,
            page_size=PAGE_SIZE,
            head_num=1,
            head_dim=16,
            full_attention_layer_ids=[0],
            device=DEVICE,
            mamba_pool=self.rows.mamba_pool,
        )
        self.allocator = PagedTokenToKVPoolAllocator(
            size=DEVICE_SLOTS,
            page_size=PAGE_SIZE,
            dtype=torch.float32,
            device=DEVICE,
            kvcache=kv_pool,
            need_sort=False,
        )
        params = CacheInitParams(
            disable=False,
            req_to_token_pool=self.rows,
            token_to_kv_pool_allocator=self.allocator,
            page_size=PAGE_SIZE,
            tree_components=(ComponentType.FULL, ComponentType.MAMBA),
            tree_core_backend=self.core,
            enable_mamba_extra_buffer=True,
        )
        self.cache = UnifiedRadixCache(params)
        if self.cache._tree_core_backend != self.core:
            self.skipTest(f"there is no {self.core} tree core here")

    def settings(self):
        # One process; wherever this release looks for a setting, it finds this one.
        context = SimpleNamespace(
            **dict.fromkeys(SIZES, 1),
            **dict.fromkeys(RANKS, 0),
            dcp_enabled=False,
            pp_group=None,
            mamba=SimpleNamespace(
                enable_int8_mamba_checkpoint=False,
                enable_mamba_extra_buffer=True,
                enable_mamba_extra_buffer_lazy=False,
                mamba_max_states_per_path=-1,
            ),
        )
        answers = dict.fromkeys(GETTERS, lambda: context)
        answers["mamba_cache_chunk_size"] = lambda: PAGE_SIZE
        answers["mamba_checkpoint_grid"] = lambda page: page
        for name, module in list(sys.modules.items()):
            for getter in answers.keys() & vars(module).keys():
                if name.startswith("sglang."):
                    patched = mock.patch.object(module, getter, answers[getter])
                    patched.start()
                    self.addCleanup(patched.stop)

    def running(self, tokens, computed):
        """A request with KV for ``computed`` tokens, and states of its own."""
        kv = SimpleNamespace(
            req_pool_idx=None,
            holds_kv=False,
            cache_protected_len=0,
            cache_inserted_len=0,
            holds_mamba=False,
            mamba_pool_idx=None,
            mamba_cow_src_index=None,
            mamba_needs_clear=False,
            mamba_ping_pong_track_buffer=None,
        )
        req = SimpleNamespace(
            rid="0",
            kv=kv,
            session=None,
            session_id=None,
            priority=0,
            extra_key=None,
            cache_salt=None,
            kv_rotation_base=None,
            lock=None,
            origin_input_ids=array("q", tokens),
            full_untruncated_fill_ids=array("q", tokens),
            finished=lambda: False,
        )
        self.rows.alloc([req])
        pages = -(-computed // PAGE_SIZE) * PAGE_SIZE
        slots = self.allocator.alloc(pages)[:computed]
        self.rows.write((kv.req_pool_idx, slice(0, computed)), slots)
        return req


class TestStateAheadRust(TestStateAhead):
    core = "rust"


if __name__ == "__main__":
    unittest.main()
