"""UnifiedRadixCache 0.5.12, the first with a host tier: what it shows, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from hicache_impl.sglang import releases
from hicache_impl.sglang.errors import NoSuchCache
from hicache_impl.sglang.loader import load
from hicache_impl.sglang.source import SourceTree
from hicache_model.operations import EvictDevice, Insert, Match
from hicache_model.outcomes import Evicted
from tests.fetched import fetched
from tests.processes import python
from tests.sglang.test_hiradix_child import pages, run, run_anyway, sizes

OLDEST = "0.5.12"
each_page = pytest.mark.parametrize("page", [1, 4])


@each_page
def test_the_upper_half_of_a_split_begins_without_hits(page: int) -> None:
    configuration = sizes(page, write_policy="write_through_selective")
    script = Insert(pages(page, 1, 2)), Match(pages(page, 1))
    *_, split = run(OLDEST, configuration, *script, cache="unified")
    assert split.nodes == {"1": "device", "1 2": "device hits=1 D"}


@each_page
def test_a_priority_is_forgotten(page: int) -> None:
    inserted = Insert(pages(page, 1), priority=3)
    (step,) = run(OLDEST, sizes(page), inserted, cache="unified")
    assert step.nodes == {"1": "device D"}


@each_page
def test_an_eviction_under_write_back_does_not_wait_for_its_copy(page: int) -> None:
    script = Insert(pages(page, 1)), EvictDevice(page)
    *_, step = run_anyway(OLDEST, sizes(page), *script, cache="unified")
    assert step.outcome == Evicted(page)
    assert step["transfers"] == ["write of 1: 1"]
    assert step["device free"] == 8


def test_it_goes_by_lru_whatever_it_is_told() -> None:
    assert releases.eviction_policies(OLDEST, releases.UNIFIED) == ("lru",)
    assert "slru" in releases.eviction_policies("0.5.13", releases.UNIFIED)
    assert "slru" in releases.eviction_policies(OLDEST)


MENDED = """
import sys
from random import Random
from hicache_model.configuration import Configuration
from hicache_verify.lockstep import Lockstep
from hicache_verify.menu import Menu, RandomChooser
from hicache_verify.targets import TargetSpec, open_factory
MEM_CACHE = "sglang.srt.mem_cache."
quota = "kv_tokens > mem_quota + result.delta", "kv_tokens + result.delta > mem_quota"
hits = "        node = result.last_host_node\\n", "        node = result.best_match_node\\n"
patches = (
    (MEM_CACHE + "unified_radix_cache", *quota),
    (MEM_CACHE + "unified_cache_components.full_component", *hits),
)
factory = open_factory(
    TargetSpec(target="sglang-unified", release=sys.argv[1], patches=patches)
)
for example in range(20):
    page = 1 + example % 2 * 3
    policy = ("write_through", "write_through_selective")[example // 2 % 2]
    sizes = Configuration(policy, page_size=page, device_slots=8 * page, host_slots=9 * page)
    lockstep, chooser = Lockstep(factory, sizes), RandomChooser(Random(example))
    menu = Menu(lockstep.model)
    for _ in range(60):
        operation = menu.draw(chooser)
        found = None if operation is None else lockstep.step(operation)
        assert found is None, (sizes, lockstep.performed, found)
print("agrees")
"""


def test_but_for_two_defects_it_agrees_with_the_model_unless_it_writes_back() -> None:
    fetched(OLDEST)
    done = python("-c", MENDED, OLDEST)
    assert done.out == "agrees\n", done.err


@pytest.mark.parametrize(
    ("ships_it", "said"),
    [
        (True, "the UnifiedRadixCache of sglang 0.5.11 has no host tier; 0.5.12 is the first"),
        (False, "ships no UnifiedRadixCache, which is in SGLang from 0.5.12 to"),
    ],
)
def test_what_is_older_is_refused(tmp_path: Path, ships_it: bool, said: str) -> None:
    folder = tmp_path / "sglang" / "srt" / "mem_cache"
    folder.mkdir(parents=True)
    (tmp_path / "sglang" / "version.py").write_text('__version__ = "0.5.11"\n')
    (folder / "hiradix_cache.py").touch()
    if ships_it:
        (folder / "unified_radix_cache.py").touch()
    with pytest.raises(NoSuchCache, match=said):
        load(SourceTree(tmp_path), cache=releases.UNIFIED)
