"""A turn of a streaming session must not inherit a token whose KV nobody has computed.

Speculative decoding appends a token that the next verify will feed: the last token of a turn has KV
only if one more verify was launched. A session counts it as committed all the same, as its slot is
allocated. No verify follows where batches do not overlap, where the scheduler knows that the turn
ends by its length (_reqs_finishing_inflight), or where the next batch is a prefill.

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

RESERVED = 6


NOTHING = {
    "req_pool_idx": None,
    "cache_protected_len": 0,
    "cache_inserted_len": 0,
    "kv_committed_len": 0,
    "kv_allocated_len": 0,
    "max_evicted_seqlen": 0,
}


class Kv(SimpleNamespace):
    """ReqKvInfo"""

    holds_kv = property(lambda self: self.req_pool_idx is not None)
    is_kv_released = property(lambda self: self.kv_allocated_len == 0)
    holds_mamba = False

    def mark_kv_released(self):
        self.kv_allocated_len = 0

    def get_evicted_seqlen(self, component):
        return 0

    def clamp_evicted_seqlens(self, length):
        pass

    def swa_dead_lo(self, page_size):
        return self.cache_protected_len


class Req(SimpleNamespace):
    def finished(self):
        return self.finished_reason is not None

    def owned_kv_len(self):
        return self.kv.kv_committed_len

    def refresh_fill_ids(self):
        self.full_untruncated_fill_ids = self.origin_input_ids + self.output_ids

    def detach_kv(self):
        kv, self.kv = self.kv, Kv(**NOTHING)
        return kv


class TestUncomputedToken(unittest.TestCase):
    core = "python"

    def test_the_last_token_of_a_turn_is_computed_in_the_next(self):
        first = self.turn([1, 2])
        self.prefill(first)
        first.output_ids.append(50)
        common.checkpoint_kv_cache(first, self.cache)
        self.verify(first, [51, 52])  # has fed 50 and 51
        first.finished_reason, first.finished_len = "length", 3

        common.release_kv_cache(first, self.cache, checkpoint=True)

        match = self.look_up(self.turn([1, 2, 50, 51, 52, 60]))
        self.assertEqual(match.device_prefix_len, 4, "tokens with KV")

    # -- what a scheduler does

    def turn(self, tokens):
        return Req(
            rid="0",
            session=self.session,
            session_id=None,
            to_finish=None,
            origin_input_ids=array("q", tokens),
            output_ids=array("q"),
            full_untruncated_fill_ids=array("q", tokens),
            extra_key=None,
            cache_salt=None,
            priority=0,
            kv_rotation_base=None,
            skip_radix_cache_insert=False,
            swa_branching_seqlen=None,
            finished_reason=None,
            finished_len=None,
            lock=None,
            kv=Kv(**NOTHING),
        )

    def look_up(self, req):
        tokens = req.full_untruncated_fill_ids
        key = RadixKey(tokens, limit=len(tokens) - 1)
        return self.cache.match_prefix(MatchPrefixParams(key=key, req=req))

    def prefill(self, req):
        req.last_node = self.look_up(req).last_device_node
        req.lock = self.cache.lock(req.last_node)
        self.rows.alloc([req])
        req.extend_end = len(req.origin_input_ids)
        self.allocate(req, req.extend_end)
        req.kv.kv_committed_len = req.extend_end
        self.cache.maybe_hand_to_session(req)

    def verify(self, req, accepted):
        """eagle_prepare_for_decode, and _resolve_spec_v2_tokens"""
        self.allocate(req, req.kv.kv_committed_len + RESERVED)
        req.kv.kv_committed_len += len(accepted)
        req.output_ids.extend(accepted)

    def allocate(self, req, end):
        begin = req.kv.kv_allocated_len
        slots = self.allocator.alloc(end - begin)
        self.rows.write((req.kv.req_pool_idx, slice(begin, end)), slots)
        req.kv.kv_allocated_len = end

    # -- one cache

    def setUp(self):
        self.settings()
        self.session = SimpleNamespace(
            session_id="0", streaming=True, finish_req=lambda req: None, abort_req=lambda: None
        )
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
            strip_thinking_cache=False,
            speculative_algorithm="EAGLE",
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


class TestUncomputedTokenRust(TestUncomputedToken):
    core = "rust"


if __name__ == "__main__":
    unittest.main()
