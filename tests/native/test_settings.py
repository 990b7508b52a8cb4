"""Settings that no cache can be built from are refused in one line that says what to do."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from hicache_impl.native.cache import HierarchicalCache
from hicache_impl.native.settings import Settings


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"page_size": 0}, "page_size is 0; a page holds at least one token, so use 1"),
        ({"page_size": -4}, "page_size is -4"),
        ({"host_slots": 0}, "host_slots is 0, too few for one page of 1; use at least 1"),
        ({"device_slots": 3, "page_size": 4}, "device_slots is 3, too few for one page of 4"),
        ({"host_slots": 3, "page_size": 4}, "host_slots is 3, too few for one page of 4"),
        ({"device_slots": 10, "page_size": 4}, "not a multiple of page_size 4; use 8"),
        ({"layers": 0}, "layers is 0; a model has at least one"),
        ({"row_shape": (3,), "dtype": torch.float16}, "takes 6 bytes; use a shape that takes a"),
        ({"row_shape": (0,)}, "takes 0 bytes"),
        ({"write_policy": "write_around"}, "unknown write policy 'write_around'; known are write_"),
        ({"eviction_policy": "random"}, "unknown eviction policy 'random'; known are lru, lfu"),
        ({"eviction_policy": "random"}, "your own policy is a function of a node"),
        ({"copies": "never"}, "unknown copies 'never'; known are early, late"),
        ({"device": "gpu9"}, "torch knows no device 'gpu9'; use cpu or cuda"),
        ({"device": "meta"}, "device 'meta' is neither cpu nor cuda"),
    ],
)
def test_a_mistake_is_one_line_with_its_mend(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=r"^[^\n]+$") as refused:
        Settings(**{"device_slots": 16, "host_slots": 16, **wrong})
    assert words in str(refused.value)


def test_one_page_in_each_tier_is_a_cache() -> None:
    cache = HierarchicalCache(Settings(device_slots=4, host_slots=4, page_size=4))
    slots = cache.allocate(4)
    assert slots is not None
    cache.insert((1, 2, 3, 4), slots)
    assert len(cache.match((1, 2, 3, 4)).slots) == 4


@pytest.mark.parametrize(
    ("policy", "threshold", "hits"),
    [
        ("write_through", None, 1),
        ("write_through_selective", None, 2),
        ("write_through", 3, 3),
        ("write_through_selective", 1, 1),
    ],
)
def test_the_hits_before_a_backup_follow_the_policy_or_the_threshold(
    policy: str, threshold: int | None, hits: int
) -> None:
    settings = Settings(
        device_slots=1, host_slots=1, write_policy=policy, write_through_threshold=threshold
    )
    assert settings.hits_before_backup == hits


def test_rows_have_the_shape_and_type_of_a_model() -> None:
    settings = Settings(
        device_slots=4, host_slots=8, layers=3, row_shape=(2, 8), dtype=torch.bfloat16
    )
    cache = HierarchicalCache(settings)
    assert [k.shape for k in cache.device_kv.k] == [(5, 2, 8)] * 3, "one slot of padding"
    assert cache.parts.host_kv.v[2].shape == (8, 2, 8)
    assert cache.device_kv.v[0].dtype == torch.bfloat16
