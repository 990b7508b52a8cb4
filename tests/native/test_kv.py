"""Every slot says whose KV it holds."""

from __future__ import annotations

from array import array

import pytest
import torch

from hicache_impl.native.kv import MIXED, KVBuffers


def buffers(layers: int = 2, shape: tuple[int, ...] = (1,)) -> KVBuffers:
    return KVBuffers(6, layers, shape, torch.int64, "cpu")


@pytest.mark.parametrize("shape", [(1,), (2, 3)])
@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("slots", [(2, 3), (5, 1), [4, 2], array("q", [0, 5])])
def test_a_stamp_is_read_back_from_its_slots_only(
    layers: int, shape: tuple[int, ...], slots: tuple[int, ...]
) -> None:
    kv = buffers(layers, shape)
    kv.stamp(slots, (71, 72))
    due = [0] * 6
    due[slots[0]], due[slots[1]] = 71, 72
    assert kv.contents() == due
    assert kv.contents_of(slots) == [71, 72]


@pytest.mark.parametrize("tensors", ["k", "v"])
@pytest.mark.parametrize("layer", [0, 1])
@pytest.mark.parametrize("word", [0, 5])
def test_one_wrong_word_in_any_buffer_makes_a_slot_mixed(
    tensors: str, layer: int, word: int
) -> None:
    kv = buffers(2, (2, 3))
    kv.stamp((1, 2), (71, 72))
    getattr(kv, tensors)[layer][2].view(-1)[word] += 1
    assert kv.contents() == [0, 71, MIXED, 0, 0, 0]


def test_layers_that_are_exchanged_and_k_for_v_are_seen() -> None:
    kv = buffers()
    kv.stamp((1,), (71,))
    kv.k[0][2], kv.v[0][2] = kv.v[0][1], kv.k[0][1]
    kv.k[0][3], kv.k[1][3] = kv.k[1][1], kv.k[0][1]
    assert kv.contents()[2:4] == [MIXED, MIXED]


def test_nothing_is_stamped_where_there_are_no_slots() -> None:
    kv = buffers()
    kv.stamp((), ())
    assert kv.contents() == [0] * 6
    assert kv.contents_of(()) == []


def test_the_version_grows_with_every_write_whatever_writes() -> None:
    kv, seen = buffers(), set[int]()
    for write in (
        lambda: kv.stamp((1,), (5,)),
        lambda: kv.k[1][2].fill_(3),
        lambda: kv.v[0].index_copy_(0, torch.tensor([3]), kv.v[1][1:2]),
        kv.kv[1].zero_,
    ):
        before = kv.version
        write()
        assert kv.version > before
        seen.add(kv.version)
    assert len(seen) == 4


def test_other_types_hold_fingerprints_in_their_bytes() -> None:
    kv = KVBuffers(4, 2, (2, 4), torch.float16, "cpu")
    kv.stamp((1, 3), (1 << 60, 5))
    assert kv.contents() == [0, 1 << 60, 0, 5]
    assert kv.k[1].shape == (4, 2, 4)
    assert kv.k[1].dtype == torch.float16
