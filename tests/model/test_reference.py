"""The reference: what it keeps equals its definitions, and examples that can be checked by eye."""

from __future__ import annotations

from itertools import product
from random import Random

import pytest

from hicache_model import operations as ops
from hicache_model.configuration import EVICTION_POLICIES, WRITE_POLICIES, Configuration
from hicache_model.definitions import (
    HOST_LEAF,
    evictable_size,
    is_device_leaf,
    protected_size,
)
from hicache_model.dialects import HIRADIX, UNIFIED, Dialect
from hicache_model.outcomes import Admitted, Evicted, Inserted, LoadedBack, Matched, Retracted
from hicache_model.reference import Reference
from hicache_model.rules import refusal
from hicache_model.snapshot import Node, Path
from hicache_model.states import state_of, why_illegal
from hicache_model.tree import TreeNode
from hicache_verify.menu import Menu, RandomChooser

RELEASES = (
    ("0.5.10", HIRADIX),
    ("0.5.14", HIRADIX),
    ("0.5.18", HIRADIX),
    ("0.5.20", HIRADIX),
    ("0.5.23", UNIFIED),
)
STEPS = 150

# -- what it keeps equals the definitions, on random walks -----------------------------------------


def above(node: TreeNode) -> list[TreeNode]:
    """The node and its ancestors below the root."""
    found = []
    while node.parent is not None:
        found.append(node)
        node = node.parent
    return found


def assert_kept_as_defined(model: Reference) -> None:
    nodes = list(model.tree.by_path.values())
    children = {node: node.children.values() for node in nodes}
    assert model.device_leaves() == {n for n in nodes if is_device_leaf(n, children[n])}
    is_host_leaf = HOST_LEAF[model.dialect.host_leaf]
    assert model.host_leaves() == {n for n in nodes if is_host_leaf(n, children[n])}
    assert model.sizes() == (evictable_size(nodes), protected_size(nodes))
    page, configuration = model.page_size, model.configuration
    rows = sum(-(-r.computed // page) * page - r.protected for r in model.requests.values())
    on_device = sum(n.length for n in nodes if n.on_device)
    assert model.device_free() == configuration.device_slots - on_device - rows >= 0
    on_host = sum(n.length for n in nodes if n.on_host)
    waiting = sum(-(-r.computed // page) * page for r in model.retracted.values())
    assert model.host_free() == configuration.host_slots - on_host - waiting >= 0


def assert_held_as_counted(model: Reference) -> None:
    holders = [*model.locks, *model.queued_writes, *model.queued_loads]
    holders += [node for nodes in (*model.writes, *model.started_loads) for node in nodes]
    holders += [r.anchor for r in model.requests.values() if r.anchor is not None]
    held: dict[TreeNode, int] = {}
    for holder in holders:
        for node in above(holder):
            held[node] = held.get(node, 0) + 1
    pins = (*model.host_locks, *model.load_pins.values())
    pinned = [node for pin in pins for node in model.covered(pin)]
    for node in model.tree.by_path.values():
        assert node.lock_ref == held.get(node, 0), f"lock_ref of {node.path}"
        assert node.host_lock == pinned.count(node), f"host_lock of {node.path}"
        assert why_illegal(state_of(node)) is None, f"{node.path}: {state_of(node)}"
        assert model.tree.by_path[node.path] is node
    assert held.keys() <= set(model.tree.by_path.values())


def walk(configuration: Configuration, dialect: Dialect, seed: int) -> None:
    model = Reference(configuration, dialect)
    menu, chooser = Menu(model), RandomChooser(Random(seed))
    views: dict[Path, Node] = {}
    for _ in range(STEPS):
        operation = menu.draw(chooser)
        if operation is None:
            continue
        model.apply(operation)
        assert_kept_as_defined(model)
        assert_held_as_counted(model)
        stale, removed = model.take_stale()
        now = {path: model.view(node) for path, node in model.tree.by_path.items()}
        told = {node.path for node in stale} | removed
        # access times alone are told by nobody: they are read only where a node is looked at
        paths = views.keys() | now.keys()
        assert {p for p in paths if _but_time(views, p) != _but_time(now, p)} <= told
        assert views.keys() - now.keys() <= removed
        views = now


def _but_time(views: dict[Path, Node], path: Path) -> tuple[object, ...] | None:
    view = views.get(path)
    if view is None:
        return None
    return (
        view.length,
        view.device,
        view.host,
        view.lock_ref,
        view.host_lock,
        view.in_device_leaves,
        view.in_host_leaves,
        view.hit_count,
        view.priority,
    )


@pytest.mark.parametrize(
    ("write_policy", "page", "release"),
    list(product(WRITE_POLICIES, (1, 4), RELEASES)),
    ids=lambda value: "-".join(value) if isinstance(value, tuple) else str(value),
)
def test_what_is_kept_equals_its_definition_after_every_operation(
    write_policy: str, page: int, release: tuple[str, str]
) -> None:
    for seed, eviction_policy in enumerate(("lru", "priority", "slru", "filo")):
        configuration = Configuration(
            write_policy,
            eviction_policy,
            page_size=page,
            device_slots=10 * page,
            host_slots=(6 + 5 * (seed % 2)) * page,
        )
        walk(configuration, Dialect.of(*release), seed)


# -- examples to check by eye ----------------------------------------------------------------------


def cache(release: str = "0.5.18", write_policy: str = "write_through", **sizes: int) -> Reference:
    return Reference(Configuration(write_policy).with_(**sizes), Dialect.of(release))


def node_at(model: Reference, *tokens: int, namespace: str | None = None) -> TreeNode:
    return model.tree.by_path[Path(namespace, tokens)]


def nodes(model: Reference) -> list[tuple[int, ...]]:
    return sorted(path.tokens for path in model.tree.by_path)


def on_device(model: Reference) -> list[tuple[int, ...]]:
    return sorted(path.tokens for path, node in model.tree.by_path.items() if node.on_device)


def backed_up(model: Reference) -> list[tuple[int, ...]]:
    return sorted(path.tokens for path, node in model.tree.by_path.items() if node.on_host)


def do(model: Reference, *operations: ops.Operation) -> None:
    for operation in operations:
        assert refusal(model, operation) is None
        model.apply(operation)


def store(model: Reference, *tokens: int, evict: bool = False) -> None:
    """Insert, complete the write, and leave it only on the host."""
    do(model, ops.Insert(tokens))
    if model.writes:
        do(model, ops.CompleteWrites(len(model.writes)))
    if evict:
        do(model, ops.EvictDevice(model.configuration.device_slots))


def test_a_parent_becomes_a_host_leaf_when_its_child_leaves_the_host() -> None:
    """The trace of #19212."""
    model = cache(write_policy="write_back")
    do(
        model,
        ops.Insert((1, 2)),
        ops.Insert((1, 2, 3)),
        ops.EvictDevice(3),
        ops.EvictHost(1),
    )
    assert nodes(model) == [(1, 2)]
    assert {node.path.tokens for node in model.host_leaves()} == {(1, 2)}


class TestLoadBack:
    def test_all_or_nothing(self) -> None:
        model = cache(device_slots=4)
        store(model, 1, 2, evict=True)
        store(model, 1, 2, 3, evict=True)
        do(model, ops.Insert((7, 8)), ops.CompleteWrites(1), ops.Lock((7, 8)))
        assert model.apply(ops.LoadBack((1, 2, 3))) == LoadedBack(0)  # 3 needed, 2 free
        assert on_device(model) == [(7, 8)]
        do(model, ops.Unlock((7, 8)))
        assert model.apply(ops.LoadBack((1, 2, 3))) == LoadedBack(3)
        assert on_device(model) == [(1, 2), (1, 2, 3)]

    @pytest.mark.parametrize(("quota", "loaded"), [(1, 0), (2, 2), (None, 2)])
    def test_within_the_quota(self, quota: int | None, loaded: int) -> None:
        model = cache()
        store(model, 1, 2, evict=True)
        assert model.apply(ops.LoadBack((1, 2), quota=quota)) == LoadedBack(loaded)

    @pytest.mark.parametrize(("quota", "loaded"), [(1, 0), (2, 1)])
    def test_what_it_locks_anew_counts_against_the_quota(self, quota: int, loaded: int) -> None:
        model = cache()
        store(model, 1)
        store(model, 1, 2)
        do(model, ops.EvictDevice(1))
        assert on_device(model) == [(1,)]
        assert model.apply(ops.LoadBack((1, 2), quota=quota)) == LoadedBack(loaded)

    @pytest.mark.parametrize(("threshold", "loaded"), [(2, 2), (3, 0)])
    def test_from_the_threshold_on(self, threshold: int, loaded: int) -> None:
        model = cache(load_back_threshold=threshold)
        store(model, 1, 2, evict=True)
        assert model.apply(ops.LoadBack((1, 2))) == LoadedBack(loaded)

    def test_locks_until_the_load_is_acknowledged(self) -> None:
        model = cache()
        store(model, 1, 2, evict=True)
        do(model, ops.LoadBack((1, 2)))
        assert (node_at(model, 1, 2).lock_ref, node_at(model, 1, 2).transfer) == (1, "queued load")
        do(model, ops.StartLoads())
        assert (node_at(model, 1, 2).lock_ref, node_at(model, 1, 2).transfer) == (1, "load")
        do(model, ops.CompleteLoads(1))
        assert (node_at(model, 1, 2).lock_ref, node_at(model, 1, 2).transfer) == (0, None)


@pytest.mark.parametrize(
    ("release", "freed", "left"), [("0.5.12", 0, [(1, 2, 3)]), ("0.5.18", 3, [])]
)
def test_a_victim_without_host_room_is_skipped_or_dropped(
    release: str, freed: int, left: list[tuple[int, ...]]
) -> None:
    model = cache(release, "write_back", host_slots=2)
    do(model, ops.Insert((1, 2, 3)))
    assert model.apply(ops.EvictDevice(3)) == Evicted(freed)
    assert nodes(model) == left


class TestBackup:
    @pytest.mark.parametrize(
        ("write_policy", "hits"), [("write_through", 1), ("write_through_selective", 2)]
    )
    def test_at_the_first_hit_or_the_second(self, write_policy: str, hits: int) -> None:
        model = cache(write_policy=write_policy)
        for hit in range(1, 4):
            do(model, ops.Insert((1, 2)))
            assert backed_up(model) == ([(1, 2)] if hit >= hits else [])
        assert len(model.writes) == 1

    def test_a_chunked_insert_counts_no_hits(self) -> None:
        model = cache()
        do(model, ops.Insert((1, 2), chunked=True))
        assert (node_at(model, 1, 2).hit_count, backed_up(model)) == (0, [])

    def test_no_hits_under_write_back(self) -> None:
        model = cache(write_policy="write_back")
        do(model, ops.Insert((1, 2)), ops.Insert((1, 2)))
        assert (node_at(model, 1, 2).hit_count, backed_up(model)) == (0, [])

    def test_a_child_never_before_its_parent(self) -> None:
        model = cache()
        do(model, ops.Insert((1,), chunked=True), ops.Insert((1, 2), chunked=True))
        assert backed_up(model) == []
        node_at(model, 1, 2).hit_count = 5
        do(model, ops.Insert((1,)))
        assert backed_up(model) == [(1,)]
        do(model, ops.Insert((1, 2)))
        assert backed_up(model) == [(1,), (1, 2)]

    def test_none_where_the_parent_found_no_host_room(self) -> None:
        model = cache(host_slots=1)
        do(model, ops.Insert((1, 2)), ops.Insert((1, 2, 3)))
        assert backed_up(model) == []


class TestPriority:
    def test_rises_along_the_path_and_never_falls(self) -> None:
        model = cache()
        do(model, ops.Insert((1,), priority=1), ops.Insert((1, 2), priority=3))
        assert [node_at(model, 1).priority, node_at(model, 1, 2).priority] == [3, 3]
        do(model, ops.Insert((1, 2), priority=2))
        assert [node_at(model, 1).priority, node_at(model, 1, 2).priority] == [3, 3]

    def test_reaches_the_half_that_an_insert_splits_off(self) -> None:
        model = cache()
        do(model, ops.Insert((1, 2), priority=1), ops.Insert((1, 5), priority=4))
        assert [node_at(model, *t).priority for t in nodes(model)] == [4, 4, 4]


# [1] is oldest and hit most, [2] of highest priority, [3] newest but [1] was used last.
VICTIMS = {
    "lru": (2,),
    "mru": (1,),
    "fifo": (1,),
    "filo": (3,),
    "lfu": (2,),
    "slru": (2,),
    "priority": (3,),
    "tlru": (2,),
}


@pytest.mark.parametrize("eviction_policy", EVICTION_POLICIES)
def test_the_first_victim_of_each_policy(eviction_policy: str) -> None:
    configuration = Configuration("write_through", eviction_policy)
    model = Reference(configuration, Dialect.of("0.5.18"))
    for operation in (
        ops.Insert((1,)),
        ops.Insert((2,), priority=2),
        ops.Insert((3,)),
        ops.Insert((1,)),
        ops.CompleteWrites(3),
    ):
        do(model, operation)
    do(model, ops.EvictDevice(1))
    assert [n.path.tokens for n in model.tree.by_path.values() if n.evicted] == [
        VICTIMS[eviction_policy]
    ]


def test_tlru_takes_the_end_of_a_conversation_first_and_remembers_how_long_it_was() -> None:
    model = Reference(Configuration("write_through", "tlru"), Dialect.of("0.5.23", "unified"))
    for operation in (
        ops.Insert((2, 2, 2)),
        ops.Insert((1, 1, 1, 1)),
        ops.Match((1, 1)),
        ops.StartWrites(),
        ops.CompleteWrites(1),
    ):
        do(model, operation)
    gone: list[set[tuple[int, ...]]] = []
    for _ in range(3):
        do(model, ops.EvictDevice(1))
        gone.append({n.path.tokens for n in model.tree.by_path.values() if n.evicted})
    assert [paths.difference(*gone[:i]) for i, paths in enumerate(gone)] == [
        {(1, 1, 1, 1)},
        {(2, 2, 2)},
        {(1, 1)},
    ]


@pytest.mark.parametrize(("release", "priority"), [("0.5.18", 3), ("0.5.20", 4)])
def test_a_finished_prompt_outlives_its_output_from_0_5_20_on(release: str, priority: int) -> None:
    """The node ends where the prompt ends either way: a complete prompt was inserted before."""
    model = cache(release)
    do(
        model,
        ops.BeginRequest(0, (1, 2), 2, priority=3),
        ops.DecodeRequest(0, 3),
        ops.DecodeRequest(0, 4),
        ops.FinishRequest(0),
    )
    assert nodes(model) == [(1, 2), (1, 2, 3, 4)]
    assert node_at(model, 1, 2).priority == priority
    assert node_at(model, 1, 2, 3, 4).priority == 3
    assert node_at(model, 1, 2).hit_count == 2  # the second insert of the prompt is chunked


class TestWaitingPrefix:
    def test_is_no_victim_before_what_was_used_since(self) -> None:
        model = Reference(Configuration("write_through"), Dialect.of("0.5.23", "unified"))
        do(model, ops.Insert((1,)), ops.Insert((2,)), ops.StartWrites(), ops.CompleteWrites(1))
        do(model, ops.Touch((1, 3)), ops.EvictDevice(1))
        assert [n.path.tokens for n in model.tree.by_path.values() if n.evicted] == [(2,)]

    @pytest.mark.parametrize(
        ("policy", "release", "cache"),
        [("lfu", "0.5.23", "unified"), ("lru", "0.5.21", "unified"), ("lru", "0.5.18", "hiradix")],
    )
    def test_is_touched_only_by_a_scheduler_that_does_so(
        self, policy: str, release: str, cache: str
    ) -> None:
        model = Reference(Configuration("write_back", policy), Dialect.of(release, cache))
        assert refusal(model, ops.Touch((1,))) is not None


class TestRetractionToTheHost:
    def of(self, policy: str = "write_back", host: int = 8) -> Reference:
        sizes = Configuration(policy, device_slots=8, host_slots=host)
        return Reference(sizes, Dialect.of("0.5.23", "unified"))

    def test_keeps_what_no_eviction_takes_until_it_resumes(self) -> None:
        model = self.of()
        do(model, ops.BeginRequest(0, (1, 2), 2), ops.DecodeRequest(0, 3))
        assert model.apply(ops.RetractToHost(0)) == Retracted(saved=True)
        do(model, ops.EvictHost(8))
        assert (model.host_free(), model.device_free(), model.requests) == (5, 6, {})
        do(model, ops.ResumeRequest(0))
        assert (model.host_free(), model.requests[0].protected) == (8, 3)
        assert nodes(model) == [(1, 2), (1, 2, 3)]
        assert node_at(model, 1, 2).priority == 1  # the prompt outlives the output here, too

    def test_makes_room_by_evicting_as_much_as_it_needs(self) -> None:
        model = self.of(host=3)
        do(model, ops.Insert((5,)), ops.Insert((6,)), ops.Insert((7,)), ops.EvictDevice(3))
        do(model, ops.BeginRequest(0, (1,), 1))
        assert model.apply(ops.RetractToHost(0)) == Retracted(saved=True)
        assert (6,) in nodes(model)
        assert (5,) not in nodes(model)

    def test_ends_the_request_where_the_host_has_no_room(self) -> None:
        model = self.of(host=1)
        do(model, ops.BeginRequest(0, (1, 2), 2))
        assert model.apply(ops.RetractToHost(0)) == Retracted(saved=False)
        assert refusal(model, ops.ResumeRequest(0)) is not None
        assert node_at(model, 1, 2).lock_ref == 0

    def test_leaves_nothing_of_what_is_aborted(self) -> None:
        model = self.of()
        do(model, ops.BeginRequest(0, (1, 2), 2), ops.RetractToHost(0))
        assert refusal(model, ops.BeginRequest(0, (3,), 1)) is not None
        do(model, ops.AbortRequest(0))
        assert (model.host_free(), model.retracted) == (8, {})

    def test_waits_for_the_writes_that_were_started_before(self) -> None:
        model = self.of("write_through")
        do(model, ops.BeginRequest(0, (1,), 1), ops.Insert((2,)), ops.StartWrites())
        do(model, ops.RetractToHost(0), ops.CompleteWrites(1))
        assert not model.writes

    @pytest.mark.parametrize(("release", "component"), [("0.5.20", "full"), ("0.5.23", "swa")])
    def test_is_refused_where_no_server_does_it(self, release: str, component: str) -> None:
        configuration = Configuration(component=component)
        model = Reference(configuration, Dialect.of(release, "unified"))
        do(model, ops.BeginRequest(0, (1,), 1))
        assert refusal(model, ops.RetractToHost(0)) is not None


class TestRequest:
    def test_the_last_token_of_a_prompt_is_never_taken_from_the_cache(self) -> None:
        model = cache()
        store(model, 1, 2, 3)
        assert model.apply(ops.BeginRequest(0, (1, 2, 3), 3)) == Admitted(2, 0)

    def test_loads_back_what_lies_on_the_host(self) -> None:
        model = cache()
        store(model, 1, 2, evict=True)
        assert model.apply(ops.BeginRequest(0, (1, 2, 3), 3)) == Admitted(0, 2)
        assert [transfer.kind for transfer in model.transfers() if transfer.started][-1] == "load"

    @pytest.mark.parametrize("release", ["0.5.14", "0.5.20"])
    def test_an_abort_while_prefilling_leaves_nothing(self, release: str) -> None:
        model = cache(release)
        do(model, ops.BeginRequest(0, (1, 2, 3), 2), ops.AbortRequest(0))
        assert (nodes(model), model.device_free(), model.requests) == ([], 8, {})

    def test_an_abort_while_prefilling_waits_in_old_releases(self) -> None:
        model = cache("0.5.12")
        do(model, ops.BeginRequest(0, (1, 2, 3), 2))
        assert refusal(model, ops.AbortRequest(0)) is not None
        do(model, ops.ExtendRequest(0, 1), ops.AbortRequest(0))
        assert nodes(model) == [(1, 2), (1, 2, 3)]

    def test_an_abort_while_decoding_finishes(self) -> None:
        model = cache()
        do(model, ops.BeginRequest(0, (1, 2), 2), ops.DecodeRequest(0, 3), ops.AbortRequest(0))
        assert nodes(model) == [(1, 2), (1, 2, 3)]


class TestStrippedThinking:
    """``strip_thinking``: a request leaves its prompt, and takes from the tree nothing it keeps."""

    def of(self, release: str = "0.5.18", page_size: int = 1) -> Reference:
        return Reference(
            Configuration(page_size=page_size, strip_thinking=True), Dialect.of(release)
        )

    @pytest.mark.parametrize("end", [ops.FinishRequest, ops.AbortRequest])
    def test_what_was_decoded_goes(self, end: type) -> None:
        model = self.of()
        do(model, ops.BeginRequest(0, (1, 2), 2), ops.DecodeRequest(0, 3), end(0))
        assert (nodes(model), model.device_free()) == ([(1, 2)], 6)

    def test_a_page_goes_that_the_prompt_shares_with_thoughts(self) -> None:
        model = self.of(page_size=2)
        do(model, ops.BeginRequest(0, (1, 2, 3), 3), ops.DecodeRequest(0, 4), ops.FinishRequest(0))
        assert (nodes(model), model.device_free()) == ([(1, 2)], 6)

    @pytest.mark.parametrize("end", [ops.FinishRequest, ops.AbortRequest, ops.RetractRequest])
    def test_thoughts_stay_that_the_tree_had_of_it_before(self, end: type) -> None:
        model = self.of()
        do(model, ops.BeginRequest(0, (1, 2, 3), 3, outputs=2), ops.DecodeRequest(0, 4), end(0))
        assert (nodes(model), model.device_free()) == ([(1, 2, 3)], 5)

    def test_those_stay_that_it_found_in_the_tree(self) -> None:
        model = self.of()
        store(model, 1, 2)
        do(model, ops.BeginRequest(0, (1, 2, 3, 4), 1, outputs=3), ops.RetractRequest(0))
        assert (nodes(model), model.device_free()) == ([(1, 2)], 6)

    def test_a_mamba_state_that_has_seen_thoughts_is_no_prompt_s(self) -> None:
        configuration = Configuration(
            strip_thinking=True, component="mamba", component_slots=6, state_buffers=2
        )
        model = Reference(configuration, Dialect.of("0.5.23", UNIFIED))
        do(model, ops.BeginRequest(0, (1, 2), 2), ops.DecodeRequest(0, 3), ops.DecodeRequest(0, 4))
        before = model.tree.by_path[Path(None, (1, 2))].last_access
        do(model, ops.FinishRequest(0))
        assert nodes(model) == [(1, 2)]
        assert model.tree.by_path[Path(None, (1, 2))].last_access == before

    def test_without_it_a_request_leaves_everything(self) -> None:
        model = cache()
        begin = ops.BeginRequest(0, (1, 2, 3), 3, outputs=2)
        do(model, begin, ops.DecodeRequest(0, 4), ops.FinishRequest(0))
        assert model.device_free() == 4

    def test_it_keeps_at_least_one_token_of_a_prompt(self) -> None:
        why = refusal(self.of(), ops.BeginRequest(0, (1, 2), 2, outputs=2))
        assert why == "2 of its 2 tokens are outputs, and its prompt has some"


def test_a_node_ends_where_the_prompt_does_that_a_retracted_request_began_with() -> None:
    model = Reference(Configuration(), Dialect.of("0.5.23", UNIFIED))
    do(model, ops.BeginRequest(0, (1, 2, 3), 3, outputs=1))
    assert nodes(model) == [(1, 2), (1, 2, 3)]


@pytest.mark.parametrize(
    "busy",
    [
        (ops.Lock((1,)),),
        (ops.LockHost((1,)),),
        (ops.Insert((2,)),),
        (ops.EvictDevice(1), ops.LoadBack((1,))),
        (ops.EvictDevice(1), ops.LoadBack((1,)), ops.StartLoads()),
        (ops.BeginRequest(0, (5, 6), 1),),
    ],
    ids=["lock", "pin", "write", "queued load", "load", "request"],
)
def test_a_busy_cache_is_not_reset(busy: tuple[ops.Operation, ...]) -> None:
    model = cache()
    store(model, 1)
    assert refusal(model, ops.Reset()) is None
    do(model, *busy)
    assert refusal(model, ops.Reset()) is not None


def test_namespaces_share_nothing() -> None:
    model = cache()
    do(model, ops.Insert((1, 2), "a"))
    assert model.apply(ops.Match((1, 2))) == Matched(0, 0)
    assert model.apply(ops.Match((1, 2), "b")) == Matched(0, 0)
    assert model.apply(ops.Insert((1, 2), "b")) == Inserted(0)
    assert model.apply(ops.Match((1, 2), "a")) == Matched(2, 0)
    assert model.device_free() == 4


def test_both_halves_of_a_split_are_what_the_node_was() -> None:
    model = cache()
    do(model, ops.Insert((1, 2, 3), priority=2), ops.CompleteWrites(1))
    do(model, ops.Lock((1, 2, 3)), ops.LockHost((1, 2, 3)))
    assert model.apply(ops.Match((1,))) == Matched(1, 0)
    upper, lower = node_at(model, 1), node_at(model, 1, 2, 3)
    assert (upper.length, lower.length) == (1, 2)
    for half in (upper, lower):
        assert (half.on_device, half.on_host, half.lock_ref) == (True, True, 1)
        assert (half.priority, half.hit_count) == (2, 1)
    assert (upper.host_lock, lower.host_lock) == (0, 1)  # a pin stays at the end of the node
