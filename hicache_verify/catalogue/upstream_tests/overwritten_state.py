"""A state that a request gives to the tree must not be written any more.

With an extra buffer a request that decodes keeps its state at each boundary in one of two slots, in
turn: the batch that is launched ahead must not write into the slot of the last state. The turn is
changed with the result of the batch before the boundary, if that is a decode; it is changed in vain
if the boundary rides in a mixed batch. The next boundary is then written over the last state, while
a request that stops gives that slot to the tree.

Found by hicache-verify on SGLang 0.5.22 and 0.5.23, with both tree cores.
"""

import dataclasses
import sys
import unittest
from array import array
from types import SimpleNamespace
from unittest import mock

import torch

from sglang.srt.managers.scheduler_components.batch_result_processor import (
    SchedulerBatchResultProcessor,
)
from sglang.srt.mem_cache import common
from sglang.srt.mem_cache.allocator import TokenToKVPoolAllocator
from sglang.srt.mem_cache.base_prefix_cache import MatchPrefixParams
from sglang.srt.mem_cache.cache_init_params import CacheInitParams
from sglang.srt.mem_cache.memory_pool import HybridLinearKVPool, HybridReqToTokenPool
from sglang.srt.mem_cache.radix_cache import RadixKey
from sglang.srt.mem_cache.unified_cache.components import ComponentType
from sglang.srt.mem_cache.unified_radix_cache import UnifiedRadixCache

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
DEVICE_SLOTS = 32
INTERVAL = 4
GROUPS = "disagg exec memory model observability parallel serving spec".split()
GETTERS = {"get_" + group for group in GROUPS}
SIZES = "tp_size pp_size attn_tp_size attn_dcp_size launch_world_size nnodes".split()
RANKS = "tp_rank pp_rank attn_tp_rank attn_dp_rank attn_dcp_rank".split()

RESULT = SimpleNamespace(num_correct_drafts_per_req_cpu=None, grammar_retained_tokens=None)

class Kv(SimpleNamespace):
    """ReqKvInfo"""

    holds_kv = property(lambda self: self.req_pool_idx is not None)
    holds_mamba = property(lambda self: self.mamba_pool_idx is not None)
    is_kv_released = property(lambda self: self.kv_allocated_len == 0)

    def mark_kv_released(self):
        self.kv_allocated_len = 0

    def get_evicted_seqlen(self, component):
        return 0

    def swa_dead_lo(self, page_size):
        return self.cache_protected_len


class Req(SimpleNamespace):
    def finished(self):
        return self.finished_reason is not None

    def owned_kv_len(self):
        """As in schedule_batch.py."""
        if self.finished_len is None:
            return self.kv.kv_committed_len
        return min(self.kv.kv_committed_len, len(self.origin_input_ids) + self.finished_len)

    def refresh_fill_ids(self):
        self.full_untruncated_fill_ids = self.origin_input_ids + self.output_ids


class Processor(SchedulerBatchResultProcessor):
    """Without what is counted of a request beside its KV."""

    def _maybe_collect_routed_experts(self, req):
        pass

    def _maybe_collect_indexer_topk(self, req):
        pass

    def _maybe_collect_customized_info(self, *args):
        pass


class TestOverwrittenState(unittest.TestCase):
    core = "python"

    def test_the_first_token_ends_at_a_boundary(self):
        self.admit([1, 2, 3], stops_at=8)
        self.run_ahead(self.prefill, *[self.decode] * 5)
        self.check(4)

    def test_a_prefill_of_others_is_launched_before_a_boundary(self):
        self.admit([1, 2], stops_at=8)
        self.run_ahead(self.prefill, self.decode, self.others, *[self.decode] * 5)
        self.check(4)

    def test_the_token_at_a_boundary_rides_with_a_prefill(self):
        self.admit([1, 2], stops_at=12)
        self.run_ahead(self.prefill, *[self.decode] * 5, self.mixed, *[self.decode] * 4)
        self.check(4)

    def check(self, length):
        """The state that is found after so many tokens has seen these and no others."""
        tokens = (self.req.origin_input_ids + self.req.output_ids)[:length] + array("q", [60])
        match = self.cache.match_prefix(MatchPrefixParams(key=RadixKey(tokens)))
        self.assertEqual(match.device_prefix_len, length)
        slot = self.cache.tree_core.get_component_device_value(
            match.last_device_node, ComponentType.MAMBA
        )
        self.assertEqual(self.states[slot].item(), length, "tokens that the state has seen")

    # -- what a scheduler does (event_loop_overlap)

    def run_ahead(self, *launches):
        """Each batch is launched before the result of the one before it is processed."""
        process = None
        for launch in launches:
            launched = launch()
            if process is not None:
                process()
            process = launched
        self.assertTrue(self.req.finished())

    def others(self):
        """A prefill of other requests: its result says nothing of this one."""
        return lambda: None

    def prefill(self):
        self.compute(len(self.req.origin_input_ids))
        self.req.extend_end = len(self.req.origin_input_ids)
        return self.process_prefill

    def process_prefill(self):
        self.append()
        common.checkpoint_kv_cache(self.req, self.cache)

    def mixed(self):
        """mix_with_running: prepared as a decode, run and processed as a prefill"""
        self.prepare_for_decode()
        return self.append

    def decode(self):
        """The forward pass keeps the state where prepare_for_decode says."""
        batch, length = self.prepare_for_decode(), self.req.kv.kv_committed_len
        if batch.mamba_track_mask_cpu[0]:
            (turn,) = batch.mamba_track_buffer_indices
            self.states[self.req.kv.mamba_ping_pong_track_buffer[turn]] = length
        return lambda: self.process_decode(batch)

    def process_decode(self, batch):
        self.append()
        self.processor._handle_finish_state_updated_req(self.req, batch, RESULT, 0, None)

    def prepare_for_decode(self):
        """As in schedule_batch.py, of a batch of one request."""
        self.compute(1)
        self.req.decode_batch_idx += 1
        remainder = self.req.kv.kv_committed_len % INTERVAL
        return SimpleNamespace(
            spec_algorithm=SimpleNamespace(is_none=lambda: True),
            req_to_token_pool=self.rows,
            mamba_track_buffer_indices=[self.req.kv.mamba_next_track_idx],
            mamba_track_mask_cpu=[remainder == 0],
            mamba_track_mask_next_cpu=[remainder == INTERVAL - 1],
            mamba_decode_batch_idx_cpu=[self.req.decode_batch_idx],
        )

    def compute(self, count):
        kv = self.req.kv
        begin, end = kv.kv_committed_len, kv.kv_committed_len + count
        slots = self.allocator.alloc(count)
        self.rows.write((kv.req_pool_idx, slice(begin, end)), slots)
        kv.kv_committed_len = kv.kv_allocated_len = end

    def append(self):
        """Every token is a new one; the last of them ends the request."""
        req = self.req
        req.output_ids.append(50 + len(req.output_ids))
        if len(req.origin_input_ids) + len(req.output_ids) == req.stops_at:
            req.finished_len, req.finished_reason = len(req.output_ids), "stop"

    def admit(self, tokens, stops_at):
        root = self.cache.match_prefix(MatchPrefixParams(key=RadixKey(array("q")))).last_device_node
        self.req = Req(
            rid="0",
            stops_at=stops_at,
            origin_input_ids=array("q", tokens),
            output_ids=array("q"),
            full_untruncated_fill_ids=array("q", tokens),
            finished_len=None,
            finished_reason=None,
            decode_batch_idx=0,
            skip_radix_cache_insert=False,
            extra_key=None,
            cache_salt=None,
            priority=0,
            session=None,
            session_id=None,
            kv_rotation_base=None,
            multimodal_inputs=None,
            time_stats=mock.Mock(),
            lock=self.cache.lock(root),
            kv=Kv(
                req_pool_idx=None,
                cache_protected_len=0,
                cache_inserted_len=0,
                kv_committed_len=0,
                kv_allocated_len=0,
                mamba_pool_idx=None,
                mamba_cow_src_index=None,
                mamba_needs_clear=False,
                mamba_ping_pong_track_buffer=None,
                mamba_last_track_seqlen=None,
                mamba_prev_track_seqlen=None,
            ),
        )
        self.rows.alloc([self.req])

    # -- one cache

    def setUp(self):
        self.settings()
        self.rows = HybridReqToTokenPool(
            size=4,
            mamba_size=8,
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
        self.states = self.rows.mamba_pool.mamba_cache.temporal[0]
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
            size=DEVICE_SLOTS, dtype=torch.float32, device=DEVICE, kvcache=kv_pool, need_sort=False
        )
        params = CacheInitParams(
            disable=False,
            req_to_token_pool=self.rows,
            token_to_kv_pool_allocator=self.allocator,
            page_size=1,
            tree_components=(ComponentType.FULL, ComponentType.MAMBA),
            tree_core_backend=self.core,
            enable_mamba_extra_buffer=True,
        )
        self.cache = UnifiedRadixCache(params)
        if self.cache._tree_core_backend != self.core:
            self.skipTest(f"there is no {self.core} tree core here")
        fields = dict.fromkeys(field.name for field in dataclasses.fields(Processor))
        self.processor = Processor(**fields | {"tree_cache": self.cache, "enable_overlap": True})

    def settings(self):
        # One process; wherever this release looks for a setting, it finds this one.
        context = SimpleNamespace(
            **dict.fromkeys(SIZES, 1),
            **dict.fromkeys(RANKS, 0),
            dcp_enabled=False,
            pp_group=None,
            strip_thinking_cache=False,
            speculative_algorithm=None,
            enable_hisparse=False,
            disaggregation_decode_enable_offload_kvcache=False,
            disaggregation_mode="null",
            mamba=SimpleNamespace(
                enable_int8_mamba_checkpoint=False,
                enable_mamba_extra_buffer=True,
                enable_mamba_extra_buffer_lazy=False,
                mamba_max_states_per_path=-1,
                mamba_track_interval=INTERVAL,
            ),
        )
        answers = dict.fromkeys(GETTERS, lambda: context)
        answers["mamba_cache_chunk_size"] = lambda: INTERVAL
        answers["mamba_checkpoint_grid"] = answers["mamba_track_grid"] = lambda page: INTERVAL
        for name, module in list(sys.modules.items()):
            for getter in answers.keys() & vars(module).keys():
                if name.startswith("sglang."):
                    patched = mock.patch.object(module, getter, answers[getter])
                    patched.start()
                    self.addCleanup(patched.stop)


class TestOverwrittenStateRust(TestOverwrittenState):
    core = "rust"


if __name__ == "__main__":
    unittest.main()
