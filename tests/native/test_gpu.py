"""Our own cache on a GPU: real streams, pinned memory, copies that really are in flight."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
import torch

from hicache_impl.native.cache import HierarchicalCache
from hicache_impl.native.kv import KVBuffers
from hicache_impl.native.pools import slots_of
from hicache_impl.native.settings import Settings
from hicache_impl.native.target import NativeFactory
from hicache_impl.native.transfer import CudaEngine
from hicache_model.configuration import WRITE_POLICIES
from hicache_model.fingerprint import fingerprints
from hicache_verify.campaigns.cells import Cell
from hicache_verify.lockstep import Lockstep
from hicache_verify.menu import Menu, RandomChooser
from hicache_verify.report.listing import divergence_block
from hicache_verify.sources.examples import draw_plan
from tests.native.caches import small
from tests.native.gpu import NO_GPU, has_gpu

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not has_gpu(), reason=NO_GPU)]

LONG = 400_000_000
"""Clock cycles: about a quarter of a second, in which every check below is long over."""
ROWS, LAYERS = 64, 4
EXAMPLES = 20


def engine(delay: int, width: int = 16) -> Any:
    device = KVBuffers(ROWS, LAYERS, (width,), torch.int64, "cuda")
    host = KVBuffers(ROWS, LAYERS, (width,), torch.int64, "cpu", pinned=True)
    device.stamp(range(ROWS), range(100, 100 + ROWS))
    return CudaEngine(device, host, torch.device("cuda"), delay)


def test_host_memory_is_pinned_and_device_memory_is_on_the_gpu() -> None:
    cache = HierarchicalCache(Settings(device_slots=8, host_slots=8, device="cuda"))
    assert cache.device_kv.k[0].is_cuda
    assert cache.parts.host_kv.k[0].is_pinned()


def test_a_write_in_flight_is_not_done_and_blocks_nobody_until_it_is_waited_for() -> None:
    made = engine(LONG)
    transfer = made.write(slots_of([1, 2, 5]), slots_of([0, 3, 4]))
    assert not transfer.done(), "issuing it waited for it"
    assert made.host_kv.contents()[0] == 0
    transfer.wait()
    assert transfer.done()
    assert made.host_kv.contents_of([0, 3, 4]) == [101, 102, 105]


def test_a_load_arrives_for_whoever_waits_for_its_layers() -> None:
    made = engine(0)
    made.write(slots_of([1, 2]), slots_of([7, 9])).wait()
    made.delay = LONG
    transfer = made.load(slots_of([20, 22]), slots_of([7, 9]))
    for layer in range(LAYERS):
        transfer.wait_layer(layer)
    assert not transfer.done(), "only the stream of the computation waits, not the caller"
    assert made.device_kv.contents_of([20, 22]) == [101, 102]
    assert transfer.done()


def test_transfers_of_one_kind_arrive_in_the_order_of_issue() -> None:
    made = engine(LONG // 8)
    transfers = [made.write(slots_of([n]), slots_of([n])) for n in range(1, 5)]
    transfers[2].wait()
    assert all(transfer.done() for transfer in transfers[:3])
    assert made.host_kv.contents_of([1, 2, 3]) == [101, 102, 103]
    transfers[3].wait()


def test_a_write_reads_what_was_computed_before_it_was_issued() -> None:
    made = engine(0)
    for value in range(200, 230):
        torch.cuda._sleep(LONG // 400)
        made.device_kv.stamp([3], [value])
        transfer = made.write(slots_of([3]), slots_of([3]))
        transfer.wait()
        assert made.host_kv.contents_of([3]) == [value]


def test_rows_that_are_written_too_early_are_seen() -> None:
    """What the delay is for: whoever reuses a slot before its copy is done changes bytes."""
    made = engine(LONG)
    transfer = made.write(slots_of([3]), slots_of([3]))
    made.device_kv.stamp([3], [999])
    transfer.wait()
    assert made.host_kv.contents_of([3]) == [999]


def test_memory_of_a_cache_that_is_gone_is_not_taken_while_its_copies_run() -> None:
    made = engine(0)
    made.write(slots_of(range(ROWS)), slots_of(range(ROWS))).wait()
    shape, dtype = made.device_kv.words.shape, made.device_kv.words.dtype
    made.delay = LONG
    made.load(slots_of(range(ROWS)), slots_of(range(ROWS)))
    del made
    others = [torch.zeros(shape, dtype=dtype, device="cuda") for _ in range(4)]
    torch.cuda.synchronize()
    assert not any(bool(other.any()) for other in others)


def test_what_is_loaded_back_is_what_was_written() -> None:
    cache = small(device="cuda", layers=2, copy_delay=LONG // 100)
    node = cache.put(1, 2, 3)
    cache.evict_device(3)
    cache.put(7, 8)
    cache.load_back(node)
    cache.start_loads()
    assert cache.protected_size == 3
    cache.complete_loads(1)
    assert cache.content(1, 2, 3) == list(fingerprints(None, (1, 2, 3)))


@pytest.mark.parametrize("page_size", [1, 4])
@pytest.mark.parametrize("write_policy", WRITE_POLICIES)
def test_it_agrees_with_the_model_after_every_operation(write_policy: str, page_size: int) -> None:
    cell, factory = Cell(write_policy, page_size, "lru"), NativeFactory("cuda")
    for number in range(EXAMPLES):
        chooser = RandomChooser(Random(f"cuda/{cell}/{number}"))
        plan = draw_plan(cell, factory.description, chooser)
        lockstep = Lockstep(factory, plan.configuration, exact=False)
        menu = Menu(lockstep.model, plan.kinds)
        for _ in range(plan.length):
            operation = menu.draw(chooser)
            found = None if operation is None else lockstep.step(operation)
            assert found is None, "\n".join(divergence_block(found))
        assert lockstep.finish() is None
