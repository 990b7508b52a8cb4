"""A request must keep a whole window of what it inserts.

Before a request inserts what it has computed, it gives back the KV of its window that it will not
read again. What it keeps begins at a page, and the insert ends at a page too, up to a page before
the request does: with a window that is no whole number of pages, the insert may end with less than
a window. The lookup behind the insert then stops short of its end, and what the tree has taken
still counts as the request's own: both will free it.

Found by hicache-verify on SGLang 0.5.21 and 0.5.22, with both tree cores; 0.5.23 keeps whole pages.
"""

import unittest
from array import array
from types import SimpleNamespace

import torch

from sglang.srt.mem_cache.allocator.swa import SWATokenToKVPoolAllocator
from sglang.srt.mem_cache.base_prefix_cache import DecLockRefParams
from sglang.srt.mem_cache.cache_init_params import CacheInitParams
from sglang.srt.mem_cache.memory_pool import ReqToTokenPool
from sglang.srt.mem_cache.swa_memory_pool import SWAKVPool
from sglang.srt.mem_cache.unified_cache.components import ComponentType
from sglang.srt.mem_cache.unified_radix_cache import UnifiedRadixCache

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
SLOTS = 16
PAGE_SIZE = 4
WINDOW = 5


class TestShortWindow(unittest.TestCase):
    core = "python"

    def test_what_a_request_inserts_is_its_own_no_more(self):
        req = self.prefill(10)

        self.checkpoint(req)

        in_tree = self.cache.full_evictable_size() + self.cache.full_protected_size()
        self.assertEqual(in_tree, 8)
        self.assertEqual(req.kv.cache_protected_len, in_tree)

    def setUp(self):
        self.rows = ReqToTokenPool(
            size=1,
            max_context_len=SLOTS,
            device=DEVICE,
            enable_memory_saver=False,
        )
        kv_pool = SWAKVPool(
            size=SLOTS,
            size_swa=SLOTS,
            page_size=PAGE_SIZE,
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
            sliding_window_size=WINDOW,
            tree_components=(ComponentType.FULL, ComponentType.SWA),
            tree_core_backend=self.core,
        )
        self.cache = UnifiedRadixCache(params)
        if self.cache._tree_core_backend != self.core:
            self.skipTest(f"there is no {self.core} tree core here")

    def prefill(self, length):
        """A request of so many tokens, none of which the tree has, with KV for them all."""
        start, end = torch.tensor([0]), torch.tensor([length])
        slots = self.allocator.alloc_extend(
            prefix_lens=start.to(DEVICE),
            prefix_lens_cpu=start,
            seq_lens=end.to(DEVICE),
            seq_lens_cpu=end,
            last_loc=torch.tensor([-1], device=DEVICE),
            extend_num_tokens=length,
        )
        self.rows.write((1, slice(0, length)), slots)
        tokens = array("q", range(length))
        return SimpleNamespace(
            rid="one",
            kv=Kv(),
            origin_input_ids=tokens,
            full_untruncated_fill_ids=tokens,
            extra_key=None,
            cache_salt=None,
            priority=0,
            session=None,
            session_id=None,
            kv_rotation_base=None,
            swa_branching_seqlen=None,
            finished=lambda: False,
            lock=None,
            # Read by 0.5.21 only:
            get_fill_ids=lambda: tokens,
            last_node=self.cache.root_node_handle(),
            lock_receipt=DecLockRefParams(),
            swa_prefix_lock_released=False,
        )

    def checkpoint(self, req):
        """The prompt is computed, and goes to the tree."""
        if hasattr(self.cache, "checkpoint"):
            self.cache.checkpoint(req, up_to=len(req.origin_input_ids))
        else:  # 0.5.21
            self.cache.cache_unfinished_req(req)


class TestShortWindowRust(TestShortWindow):
    core = "rust"


class Kv:
    """What the cache reads and writes of ReqKvInfo."""

    holds_kv = True
    req_pool_idx = 1
    cache_protected_len = cache_inserted_len = evicted_seqlen = 0

    def swa_dead_lo(self, page_size):
        return self.cache_protected_len

    def get_evicted_seqlen(self, component_type):
        return self.evicted_seqlen

    def set_evicted_seqlen(self, component_type, length):
        self.evicted_seqlen = length


if __name__ == "__main__":
    unittest.main()
