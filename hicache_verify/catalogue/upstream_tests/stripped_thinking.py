"""A request that was retracted while it thought must not give back what the tree keeps of it.

With --strip-thinking-cache a request that has thought owns its prompt and nothing else
(schedule_batch.py, Req.owned_kv_len). Retracted and admitted again, it gives the tree its prompt
and what it had thought, and the tree protects all of that for it; its end forgets so.

Found by hicache-verify on SGLang 0.5.22 and 0.5.23, with both tree cores.
"""

import sys
import unittest
from array import array
from types import SimpleNamespace
from unittest import mock

import torch

from sglang.srt.mem_cache import common
from sglang.srt.mem_cache.allocator import TokenToKVPoolAllocator
from sglang.srt.mem_cache.base_prefix_cache import MatchPrefixParams
from sglang.srt.mem_cache.cache_init_params import CacheInitParams
from sglang.srt.mem_cache.memory_pool import MHATokenToKVPool, ReqToTokenPool
from sglang.srt.mem_cache.radix_cache import RadixKey
from sglang.srt.mem_cache.unified_cache.components import ComponentType
from sglang.srt.mem_cache.unified_radix_cache import UnifiedRadixCache

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
DEVICE_SLOTS = 12
GROUPS = "exec memory model observability parallel serving spec".split()
GETTERS = {"get_" + group for group in GROUPS}
SIZES = "tp_size pp_size attn_tp_size attn_dcp_size launch_world_size nnodes".split()
RANKS = "tp_rank pp_rank attn_tp_rank attn_dp_rank attn_dcp_rank".split()

PROMPT, THOUGHTS = [1, 2], [50, 51]


class Kv(SimpleNamespace):
    """ReqKvInfo"""

    holds_kv = property(lambda self: self.req_pool_idx is not None)
    is_kv_released = property(lambda self: self.kv_allocated_len == 0)
    holds_mamba = False

    def mark_kv_released(self):
        self.kv_allocated_len = 0

    def get_evicted_seqlen(self, component):
        return 0

    def swa_dead_lo(self, page_size):
        return self.cache_protected_len


class Req(SimpleNamespace):
    def finished(self):
        return self.done

    def owned_kv_len(self):
        """As in schedule_batch.py, of a request with reasoning_tokens > 0."""
        return min(self.kv.kv_committed_len, len(self.origin_input_ids))

    def refresh_fill_ids(self):
        self.full_untruncated_fill_ids = self.origin_input_ids + self.output_ids


class TestStrippedThinking(unittest.TestCase):
    core = "python"

    def test_it_may_finish(self):
        req = self.request()
        self.prefill(req)
        self.think(req)
        self.retract(req)
        self.prefill(req)

        req.done = True
        common.release_kv_cache(req, self.cache, checkpoint=True)

        self.check()

    def test_it_may_be_retracted_again(self):
        req = self.request()
        self.prefill(req)
        self.think(req)
        self.retract(req)
        self.prefill(req)

        self.retract(req)

        self.check()

    def check(self):
        """What the tree keeps for the next request with this prefix is not for others to take."""
        key = RadixKey(array("q", PROMPT + THOUGHTS))
        match = self.cache.match_prefix(MatchPrefixParams(key=key))
        kept = self.cache.path_device_indices(match.last_device_node).tolist()
        free = self.allocator.free_pages.tolist() + self.allocator.release_pages.tolist()
        self.assertEqual(set(kept) & set(free), set(), "slots of the tree are free")

    # -- what a scheduler does

    def request(self):
        return Req(
            rid="0",
            origin_input_ids=array("q", PROMPT),
            output_ids=array("q"),
            full_untruncated_fill_ids=array("q", PROMPT),
            extra_key=None,
            cache_salt=None,
            priority=0,
            session=None,
            session_id=None,
            kv_rotation_base=None,
            skip_radix_cache_insert=False,
            finished_len=None,
            done=False,
            lock=None,
            kv=Kv(
                req_pool_idx=None,
                cache_protected_len=0,
                cache_inserted_len=0,
                kv_committed_len=0,
                kv_allocated_len=0,
            ),
        )

    def prefill(self, req):
        req.refresh_fill_ids()
        tokens = req.full_untruncated_fill_ids
        params = MatchPrefixParams(key=RadixKey(tokens, limit=len(tokens) - 1))
        match = self.cache.match_prefix(params)
        req.prefix_len = req.kv.cache_protected_len = match.device_prefix_len
        req.last_node = match.last_device_node
        req.lock = self.cache.lock(req.last_node)
        self.rows.alloc([req])
        prefix = self.cache.path_device_indices(req.last_node)
        self.rows.write((req.kv.req_pool_idx, slice(0, req.prefix_len)), prefix)
        req.kv.kv_committed_len = req.kv.kv_allocated_len = req.prefix_len
        self.compute(req, len(tokens) - req.prefix_len)
        req.extend_end = len(tokens)
        common.checkpoint_kv_cache(req, self.cache)

    def think(self, req):
        for token in THOUGHTS:
            req.output_ids.append(token)
            self.compute(req, 1)

    def compute(self, req, count):
        begin = req.kv.kv_committed_len
        slots = self.allocator.alloc(count)
        self.rows.write((req.kv.req_pool_idx, slice(begin, begin + count)), slots)
        req.kv.kv_committed_len = req.kv.kv_allocated_len = begin + count

    def retract(self, req):
        """release_req of schedule_batch.py"""
        common.release_kv_cache(req, self.cache, checkpoint=False)
        req.kv.cache_protected_len = req.kv.cache_inserted_len = req.kv.kv_committed_len = 0

    # -- one cache

    def setUp(self):
        server_args = self.settings()
        self.rows = ReqToTokenPool(
            size=4, max_context_len=64, device=DEVICE, enable_memory_saver=False
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
            req_to_token_pool=self.rows,
            token_to_kv_pool_allocator=self.allocator,
            page_size=1,
            tree_components=(ComponentType.FULL,),
            tree_core_backend=self.core,
        )
        self.cache = UnifiedRadixCache(params)
        if self.cache._tree_core_backend != self.core:
            self.skipTest(f"there is no {self.core} tree core here")

    def settings(self):
        # One process; wherever this release looks for a setting, it finds this one.
        context = SimpleNamespace(
            strip_thinking_cache=True,
            speculative_algorithm=None,
            **dict.fromkeys(SIZES, 1),
            **dict.fromkeys(RANKS, 0),
            dcp_enabled=False,
            pp_group=None,
        )
        answers = dict.fromkeys(GETTERS, lambda: context)
        for name, module in list(sys.modules.items()):
            for getter in answers.keys() & vars(module).keys():
                if name.startswith("sglang."):
                    patched = mock.patch.object(module, getter, answers[getter])
                    patched.start()
                    self.addCleanup(patched.stop)


class TestStrippedThinkingRust(TestStrippedThinking):
    core = "rust"


if __name__ == "__main__":
    unittest.main()
