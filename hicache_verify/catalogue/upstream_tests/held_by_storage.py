"""What counts as evictable must be evicted, also while the storage is slow.

Under write_back a victim goes to the host and on to the storage, which holds its host copy until it
has written it. Where the host is full of such copies, the next victim finds no room there; it is
dropped, unless the storage holds something below it. Then the eviction frees nothing, although it
was promised, and the prefill that was admitted on this promise ends the server.

Found by hicache-verify on SGLang 0.5.22 and 0.5.23, with both tree cores.
"""

import json
import sys
import threading
import unittest
from array import array
from types import SimpleNamespace
from unittest import mock

import torch

from sglang.srt.mem_cache import common
from sglang.srt.mem_cache.allocator import TokenToKVPoolAllocator
from sglang.srt.mem_cache.base_prefix_cache import EvictParams, InsertParams
from sglang.srt.mem_cache.cache_init_params import CacheInitParams
from sglang.srt.mem_cache.hicache_storage import HiCacheStorage
from sglang.srt.mem_cache.memory_pool import MHATokenToKVPool, ReqToTokenPool
from sglang.srt.mem_cache.radix_cache import RadixKey
from sglang.srt.mem_cache.unified_cache.components import ComponentType
from sglang.srt.mem_cache.unified_radix_cache import UnifiedRadixCache

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
DEVICE_SLOTS, HOST_SLOTS = 8, 2
FIRST_TURN, SECOND_TURN = [1, 2, 3, 4], [5, 6]
GROUPS = "memory model observability parallel serving".split()
GETTERS = {"get_" + group for group in GROUPS}
SIZES = "tp_size pp_size attn_tp_size attn_dcp_size launch_world_size nnodes".split()
RANKS = "tp_rank pp_rank attn_tp_rank attn_dp_rank attn_dcp_rank".split()


class SlowStorage(HiCacheStorage):
    """Has written nothing before it answers."""

    answers = threading.Event()

    def __init__(self, *args):
        pass

    def batch_set(self, keys, values=None, target_locations=None, target_sizes=None):
        return self.answers.wait(timeout=60)

    def batch_exists(self, keys, extra_info=None):
        return 0

    def set(self, key, value=None, target_location=None, target_sizes=None):
        return self.answers.wait(timeout=60)

    def exists(self, key):
        return False

    def get(self, key, target_location=None, target_sizes=None):
        return None

    def batch_get(self, keys, target_locations=None, target_sizes=None):
        return [None] * len(keys)


class TestHeldByStorage(unittest.TestCase):
    core = "python"

    def test_what_is_evictable_can_be_evicted(self):
        self.write_the_second_turn_to_storage()
        promised = self.cache.evictable_size()

        self.answer_soon()
        evicted = self.cache.evict(EvictParams(num_tokens=promised))

        self.assertEqual(evicted.num_tokens_evicted, promised)

    def test_a_prompt_that_fits_gets_its_memory(self):
        self.write_the_second_turn_to_storage()
        # PrefillBudget: prompt + 1 token to come + 1 page in reserve < what is free and evictable
        prompt = self.allocator.available_size() + self.cache.evictable_size() - 3

        self.answer_soon()
        common.evict_from_tree_cache(self.cache, prompt)  # alloc_token_slots
        slots = self.allocator.alloc(prompt)

        self.assertIsNotNone(slots, "Out of memory. Try to lower your batch size.")

    def write_the_second_turn_to_storage(self):
        """Two turns of a conversation; the second goes to the host, which is full then."""
        self.insert(FIRST_TURN)
        self.insert(FIRST_TURN + SECOND_TURN)
        evicted = self.cache.evict(EvictParams(num_tokens=len(SECOND_TURN)))
        self.assertEqual(evicted.num_tokens_evicted, len(SECOND_TURN))

    def answer_soon(self):
        """For an eviction that waits for the storage; else it has ended before."""
        timer = threading.Timer(0.5, SlowStorage.answers.set)
        timer.start()
        self.addCleanup(timer.cancel)

    def insert(self, tokens):
        """The end of a request: its KV goes to the cache, which frees duplicates."""
        params = InsertParams(
            key=RadixKey(array("q", tokens)),
            value=self.allocator.alloc(len(tokens)),
        )
        self.cache.insert(params)

    # -- one cache

    def setUp(self):
        SlowStorage.answers.clear()
        server_args = self.settings()
        rows = ReqToTokenPool(
            size=1,
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
        self.assertEqual(self.cache.cache_controller.mem_pool_host.size, HOST_SLOTS)

    def settings(self):
        storage = {"backend_name": "slow", "module_path": __name__, "class_name": "SlowStorage"}
        server_args = SimpleNamespace(
            hicache_ratio=(HOST_SLOTS - 0.5) / DEVICE_SLOTS,
            hicache_size=0,
            hicache_mem_layout="layer_first",
            hicache_io_backend="direct",
            hicache_host_memory_mode="cache",
            hicache_write_policy="write_back",
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


class TestHeldByStorageRust(TestHeldByStorage):
    core = "rust"


if __name__ == "__main__":
    unittest.main()
