"""The real classes of each release load, build, and move KV without a GPU.

A process holds one release, so the facts of a release are gathered in a child process, once, and
each test looks at one of them. As a script this file is that child.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import traceback
from functools import cache as remember
from itertools import product
from pathlib import Path
from typing import Any

import attrs
import psutil
import pytest

from hicache_impl.sglang.releases import default_cache
from tests.fetched import fetched
from tests.processes import ROOT, python

FAST = ("0.5.10.post1", "0.5.18")
PAGES = (1, 4)
POLICIES = ("write_back", "write_through", "write_through_selective")
TRIPS = tuple(
    f"{policy}-page{page}-{io}-{copies}"
    for policy, page, io, copies in product(
        POLICIES, PAGES, ("direct", "kernel"), ("late", "early")
    )
)

MENDED = {
    "module": "sglang.srt.mem_cache.hiradix_cache",
    "old": "            if child.evicted:\n                if node in self.evictable_host_leaves:",
    "new": "            if child.backuped:\n                if node in self.evictable_host_leaves:",
}


# -- the child: everything below runs beside a real release ----------------------------------------


def _configuration(**changes: Any) -> Any:
    from hicache_model.configuration import Configuration

    return Configuration(**{"device_slots": 8, "host_slots": 12, "layers": 2} | changes)


class Driver:
    """The few calls that these tests make on a real cache."""

    def __init__(self, loaded: Any, configuration: Any) -> None:
        from hicache_impl.sglang.build import build

        self.loaded = loaded
        self.parts = build(loaded, configuration)
        self.cache = self.parts.cache
        self.base = loaded.module("mem_cache.base_prefix_cache")

    def key(self, tokens: list[int]) -> Any:
        from hicache_impl.sglang.releases import order

        array = order(self.loaded.version) >= (0, 5, 13)
        from array import array as packed

        ids: Any = packed("q", tokens) if array else tokens
        return self.loaded.module("mem_cache.radix_cache").RadixKey(ids, None)

    def write(self, slots: Any, tokens: list[int]) -> None:
        """The forward pass: the KV of token t is t in K and -t in V, plus the layer."""
        import torch

        for layer, (k, v) in enumerate(
            zip(self.parts.device_pool.k_buffer, self.parts.device_pool.v_buffer, strict=True)
        ):
            k[slots, 0, 0] = torch.tensor(tokens) + 1000 * layer
            v[slots, 0, 0] = -torch.tensor(tokens) - 1000 * layer

    def read(self, slots: Any) -> list[list[int]]:
        pool = self.parts.device_pool
        return [buffer[slots, 0, 0].tolist() for buffer in (*pool.k_buffer, *pool.v_buffer)]

    def insert(self, tokens: list[int]) -> None:
        """As a request that computes all of its tokens, and frees the duplicates."""
        slots = self.parts.allocator.alloc(len(tokens))
        self.write(slots, tokens)
        result = self.cache.insert(self.base.InsertParams(key=self.key(tokens), value=slots))
        if result.prefix_len:
            self.parts.allocator.free(slots[: result.prefix_len])

    def evict(self, count: int) -> None:
        self.cache.evict(self.base.EvictParams(num_tokens=count))

    def match(self, tokens: list[int]) -> Any:
        return self.cache.match_prefix(self.base.MatchPrefixParams(key=self.key(tokens)))

    def load_back(self, tokens: list[int]) -> Any:
        match = self.match(tokens)
        node = getattr(match, "best_match_node", None) or match.last_host_node
        if not hasattr(self.base, "InitLoadBackParams"):
            return self.cache.init_load_back(node, match.host_hit_length)[0]
        fields = {f.name for f in _fields(self.base.InitLoadBackParams)}
        name = "best_match_node" if "best_match_node" in fields else "last_host_node"
        params = {name: node, "host_hit_length": match.host_hit_length}
        return self.cache.init_load_back(self.base.InitLoadBackParams(**params))[0]

    def finish_writes(self) -> None:
        from hicache_impl.sglang.transfers import complete_writes

        complete_writes(self.parts, 10)
        self.cache.check_hicache_events()

    def finish_loads(self) -> None:
        from hicache_impl.sglang.transfers import complete_loads

        complete_loads(self.parts, 10)
        self.cache.check_hicache_events()


def _fields(record: type[Any]) -> Any:
    import dataclasses

    return dataclasses.fields(record)


def round_trip(loaded: Any, trip: str) -> None:
    """Insert, back up, evict, load back: the integers come back."""
    from hicache_impl.sglang.transfers import loads_in_flight, writes_in_flight

    policy, page, io, copies = trip.split("-")
    page_size = int(page.removeprefix("page"))
    driver = Driver(
        loaded,
        _configuration(write_policy=policy, page_size=page_size, io_backend=io, copies=copies),
    )
    tokens = list(range(10, 10 + 4))
    driver.insert(tokens)
    if policy == "write_through_selective":
        assert not writes_in_flight(driver.parts)
        driver.insert(tokens)
    if policy != "write_back":
        (write,) = writes_in_flight(driver.parts)
        assert not write.complete
        assert write.moved == (copies == "early")
        assert len(write.host_slots) == len(write.device_slots) == 4
        driver.finish_writes()
        assert not writes_in_flight(driver.parts)
    before = driver.read(driver.match(tokens).device_indices)
    assert before[0] == tokens
    driver.evict(4)
    assert driver.match(tokens).host_hit_length == 4
    assert driver.parts.allocator.available_size() == 8
    driver.write(list(range(12 if page_size == 4 else 9)), [7] * (12 if page_size == 4 else 9))
    slots = driver.load_back(tokens)
    driver.cache.ready_to_load_host_cache()
    (load,) = loads_in_flight(driver.parts)
    assert not load.complete
    assert load.moved == (copies == "early")
    assert sorted(load.device_slots) == slots.tolist()
    assert (driver.read(slots) == before) == (copies == "early")
    driver.finish_loads()
    assert not loads_in_flight(driver.parts)
    assert driver.read(slots) == before
    assert driver.read(driver.match(tokens).device_indices) == before


def paged_extend_and_decode(loaded: Any) -> None:
    """The paged allocator extends and decodes by the release's own naive function."""
    import torch

    driver = Driver(loaded, _configuration(page_size=4, device_slots=16, host_slots=20))
    allocator = driver.parts.allocator
    lengths = [torch.tensor([n]) for n in (0, 6)]
    slots = allocator.alloc_extend(
        *(lengths[0], lengths[0], lengths[1], lengths[1], torch.tensor([-1]), 6)
    )
    assert slots.tolist() == [4, 5, 6, 7, 8, 9]
    seventh = torch.tensor([7])
    assert allocator.alloc_decode(seventh, seventh, torch.tensor([9])).tolist() == [10]
    assert allocator.available_size() == 8
    long = torch.tensor([30])
    assert allocator.alloc_extend(*(lengths[0],) * 2, long, long, torch.tensor([-1]), 30) is None


def four_operations(loaded: Any) -> bool:
    """#19212: whether [1] is an evictable host leaf although [1, 2] below it is backed up."""
    driver = Driver(loaded, _configuration(write_policy="write_back", layers=1))
    driver.insert([1])
    driver.evict(1)
    driver.insert([1, 2])
    driver.evict(2)
    (node,) = driver.cache.root_node.children.values()
    assert list(node.key.token_ids) == [1]
    return node in driver.cache.evictable_host_leaves


def kept_memory(loaded: Any, builds: int) -> int:
    """Bytes that the process has grown by over many builds, after a few to warm up."""
    from hicache_impl.sglang.build import build

    configuration, process = _configuration(), psutil.Process()
    for _ in range(500):
        build(loaded, configuration)
    gc.collect()
    before = process.memory_info().rss
    for _ in range(builds):
        build(loaded, configuration)
    gc.collect()
    grown: int = process.memory_info().rss - before
    return grown


def build_milliseconds(loaded: Any) -> float:
    import time

    from hicache_impl.sglang.build import build

    configuration = _configuration(layers=1)
    samples = []
    for _ in range(200):
        start = time.perf_counter()
        build(loaded, configuration)
        samples.append(time.perf_counter() - start)
    return sorted(samples)[100] * 1000


def clock_is_counting(loaded: Any) -> None:
    driver = Driver(loaded, _configuration())
    driver.insert([1, 2])
    (node,) = driver.cache.root_node.children.values()
    assert node.last_access_time == int(node.last_access_time) < 100


def loud_placeholders(loaded: Any) -> None:
    from hicache_impl.sglang.errors import PlaceholderUsed

    utils = sys.modules["sglang.srt.utils"]
    with pytest.raises(PlaceholderUsed, match=r"sglang\.srt\.utils\.kill_everything was called"):
        utils.kill_everything()
    assert utils.is_cuda() is False


def _outcome(function: Any, *arguments: Any) -> Any:
    try:
        return {"value": function(*arguments)}
    except BaseException:  # noqa: BLE001 - carried to the parent, which fails the test with it
        return {"error": traceback.format_exc()}


def gather(request: dict[str, Any]) -> dict[str, Any]:
    from hicache_impl.sglang.loader import Patch, load
    from hicache_impl.sglang.source import Installed, Release, SourceTree

    kind, where = request["origin"]
    origin: Any = {"release": Release, "source": SourceTree}.get(kind, lambda _: Installed())(where)
    patches = [Patch(**patch) for patch in request.get("patches", ())]
    try:
        loaded = load(origin, patches)
    except Exception as error:  # noqa: BLE001 - its class and words are what a test looks at
        return {"refused": f"{type(error).__name__}: {error}"}
    facts: dict[str, Any] = {
        "version": loaded.version,
        "told_by": loaded.located.told_by,
        "report": attrs.asdict(loaded.report),
        "four operations": _outcome(four_operations, loaded),
    }
    if not patches:
        for check in (paged_extend_and_decode, clock_is_counting, loud_placeholders):
            facts[check.__name__] = _outcome(check, loaded)
        facts["milliseconds"] = _outcome(build_milliseconds, loaded)
        for trip in request.get("trips", TRIPS):
            facts[trip] = _outcome(round_trip, loaded, trip)
    if request.get("builds"):
        facts["kept memory"] = _outcome(kept_memory, loaded, request["builds"])
    return facts


# -- the parent ------------------------------------------------------------------------------------


def _ask(*origin: str, **request: Any) -> dict[str, Any]:
    request["origin"] = origin
    path = os.pathsep.join((str(ROOT), *origin[1:]))
    child = python("-W", "error", __file__, json.dumps(request), PYTHONPATH=path)
    assert child.code == 0, child.err
    assert child.err == "", "the release was not silent"
    answer: dict[str, Any] = child.json
    return answer


@remember
def facts_of(version: str) -> dict[str, Any]:
    """What the child saw."""
    fetched(version)
    return _ask("release", version)


def value(facts: dict[str, Any], name: str) -> Any:
    assert "refused" not in facts, facts["refused"]
    assert "error" not in facts[name], facts[name]["error"]
    return facts[name]["value"]


def _releases() -> list[Any]:
    from hicache_impl.sglang.releases import KNOWN

    return [v if v in FAST else pytest.param(v, marks=pytest.mark.slow) for v in KNOWN]


@pytest.mark.parametrize("version", _releases())
class TestEachRelease:
    @pytest.mark.parametrize("trip", TRIPS)
    def test_kv_integers_survive_backup_eviction_and_load_back(
        self, version: str, trip: str
    ) -> None:
        value(facts_of(version), trip)

    def test_the_paged_allocator_extends_and_decodes(self, version: str) -> None:
        value(facts_of(version), "paged_extend_and_decode")

    def test_time_is_counted(self, version: str) -> None:
        value(facts_of(version), "clock_is_counting")

    def test_a_placeholder_that_is_called_names_itself(self, version: str) -> None:
        value(facts_of(version), "loud_placeholders")

    def test_a_cache_is_built_in_about_a_millisecond(self, version: str) -> None:
        assert value(facts_of(version), "milliseconds") < 5  # typically 0.5; machines are shared

    def test_the_cache_itself_is_real(self, version: str) -> None:
        report = facts_of(version)["report"]
        assert {
            "sglang.srt.mem_cache.hiradix_cache",
            "sglang.srt.mem_cache.radix_cache",
            "sglang.srt.mem_cache.memory_pool",
            "sglang.srt.mem_cache.evict_policy",
            "sglang.srt.managers.cache_controller",
        } <= set(report["real"])
        assert not set(report["real"]) & set(report["placeholders"])

    def test_19212_shows_up_to_0_5_10_post1(self, version: str) -> None:
        from hicache_impl.sglang.releases import Range

        affected = version in Range(before="0.5.11")
        assert value(facts_of(version), "four operations") is affected


def test_19212_is_that_one_line() -> None:
    facts_of("0.5.10.post1")
    mended = _ask("release", "0.5.10.post1", patches=[MENDED])
    assert value(mended, "four operations") is False


def test_a_patch_that_is_not_found_exactly_once_is_refused() -> None:
    facts_of("0.5.10.post1")
    patch = MENDED | {"old": "child.evicted"}
    refused = _ask("release", "0.5.10.post1", patches=[patch])["refused"]
    assert refused.startswith("PatchDoesNotApply: ")
    assert "'child.evicted' occurs" in refused


@pytest.fixture
def tree_of_links(tmp_path: Path) -> Path:
    """A folder that holds 0.5.18's package as links, without the files that say a version."""
    from hicache_impl.sglang import fetch

    facts_of("0.5.18")
    (tmp_path / "sglang").mkdir()
    for entry in fetch.unpacked("0.5.18").iterdir():
        if entry.name not in ("version.py", "_version.py"):
            (tmp_path / "sglang" / entry.name).symlink_to(entry)
    return tmp_path


@pytest.mark.parametrize("kind", ["source", "installed"])
def test_a_tree_of_links_without_a_version_is_recognized(kind: str, tree_of_links: Path) -> None:
    facts = _ask(kind, str(tree_of_links), trips=TRIPS[:1])
    assert (facts["version"], facts["told_by"]) == ("0.5.18", "features of its source")
    assert value(facts, TRIPS[0]) is None


def test_a_folder_without_sglang_is_refused(tmp_path: Path) -> None:
    assert _ask("source", str(tmp_path))["refused"].startswith("UnreadableSource: ")


def test_a_source_tree_without_the_cache_is_refused(tmp_path: Path) -> None:
    (tmp_path / "sglang").mkdir()
    assert _ask("source", str(tmp_path))["refused"].startswith("NoSuchCache: ")


@pytest.mark.slow
@pytest.mark.parametrize("version", FAST)
def test_memory_stays_flat_over_ten_thousand_builds(version: str) -> None:
    facts_of(version)
    facts = _ask("release", version, builds=10_000)
    assert value(facts, "kept memory") < 8 * 2**20


if __name__ == "__main__":
    print(json.dumps(gather(json.loads(sys.argv[1]))))  # noqa: T201 - the child's answer


@pytest.mark.parametrize(
    ("version", "cache"),
    [("0.5.18", "hiradix"), ("0.5.19", "unified"), ("0.5.20", "unified"), ("0.5.23", "unified")],
)
def test_the_cache_taken_is_the_one_that_servers_use(version: str, cache: str) -> None:
    assert default_cache(version) == cache
