"""Observation on its own: what is remembered, what must not be, and contents that do not agree."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from hicache_impl.sglang.differences import TABLE, differences
from hicache_impl.sglang.observe import MIXED, Buffers, FreeList, Nodes
from hicache_impl.sglang.releases import KNOWN
from hicache_model.snapshot import Path


def buffers(slots: int, layers: int) -> Buffers:
    keys, values = (
        [torch.zeros(slots, 1, 1, dtype=torch.int64) for _ in range(layers)] for _ in "kv"
    )
    return Buffers(keys, values)


class TestBuffers:
    @pytest.mark.parametrize("layers", [1, 2, 5])
    def test_give_back_what_was_written_and_zero_elsewhere(self, layers: int) -> None:
        kv, largest = buffers(5, layers), (1 << 61) - 1
        kv.write(torch.tensor([3, 1]), (7, largest))
        assert kv.read(fresh=False) == [0, largest, 0, 7, 0]
        assert kv.read_at((3, 4, 1)) == [7, 0, largest]

    @pytest.mark.parametrize("part", range(6))
    def test_that_disagree_about_a_slot_read_as_mixed(self, part: int) -> None:
        """K against V, or one layer against the others."""
        kv = buffers(4, 3)
        kv.write(torch.tensor([1, 2]), (5, 6))
        kv.views[part][2] += 1
        assert kv.read(fresh=False) == [0, 5, MIXED, 0]

    def test_of_two_layers_that_were_swapped_read_as_mixed(self) -> None:
        kv = buffers(3, 2)
        kv.write(torch.tensor([1]), (5,))
        first, second = kv.views[0].clone(), kv.views[2].clone()
        kv.views[0][:], kv.views[2][:] = second, first
        assert kv.read(fresh=False) == [0, MIXED, 0]

    def test_are_read_again_only_when_written_to(self) -> None:
        kv = buffers(3, 1)
        before = kv.read(fresh=False)
        assert kv.read(fresh=False) is before
        assert kv.read(fresh=True) == before
        kv.write(torch.tensor([2]), (9,))
        assert kv.read(fresh=False) == [0, 0, 9]


def test_a_free_list_shows_every_entry_in_order_also_twice() -> None:
    slots = FreeList()
    first, second = torch.tensor([4, 2]), torch.tensor([2, 7])
    assert slots.read((first, second), fresh=False) == (4, 2, 2, 7)
    assert slots.read((first,), fresh=False) == (4, 2)
    first[0] = 5
    assert slots.read((first,), fresh=False) == (5, 2)


# -- nodes -----------------------------------------------------------------------------------------


def real_node(parent: Any, *token_ids: int, **fields: Any) -> Any:
    """A node as upstream's TreeNode shows it."""
    node = _Real(
        key=_Key(token_ids),
        parent=parent,
        children={},
        value=torch.tensor([9] * len(token_ids)),
        host_value=None,
        lock_ref=0,
        host_ref_counter=0,
        hit_count=0,
        priority=0,
        last_access_time=1.0,
        creation_time=1.0,
    )
    vars(node).update(fields)
    if parent is not None:
        parent.children[token_ids[0]] = node
    return node


class _Real(SimpleNamespace):
    __hash__ = object.__hash__  # type: ignore[assignment]
    __eq__ = object.__eq__


class _Key:
    def __init__(self, token_ids: tuple[int, ...]) -> None:
        self.token_ids, self.extra_key = list(token_ids), None
        self.is_bigram = False

    def __len__(self) -> int:
        return len(self.token_ids)


@pytest.fixture
def tree() -> Any:
    """[1, 2] above [1, 2, 3] and [1, 2, 4]."""
    root = real_node(None)
    upper = real_node(root, 1, 2)
    lower = [real_node(upper, token) for token in (3, 4)]
    cache = SimpleNamespace(
        root_node=root, evictable_leaves=set(lower), evictable_host_leaves=set()
    )
    calls = SimpleNamespace(
        cache=cache,
        page_size=1,
        node_key=lambda keys, namespace: _Key(keys),
        child=lambda node, key: node.children.get(key.token_ids[0]),
    )
    return SimpleNamespace(cache=cache, upper=upper, lower=lower, nodes=Nodes(calls))


def path(*tokens: int) -> Path:
    return Path(None, tokens)


class TestNodes:
    def test_that_did_not_change_are_the_same_objects(self, tree: Any) -> None:
        tree.nodes.look()
        before = tree.nodes.by_path
        tree.nodes.look()
        assert tree.nodes.by_path is before
        tree.lower[0].lock_ref += 1
        tree.nodes.look()
        after = tree.nodes.by_path
        assert after[path(1, 2, 3)].lock_ref == 1
        assert before[path(1, 2, 3)].lock_ref == 0
        assert after[path(1, 2, 4)] is before[path(1, 2, 4)]

    @pytest.mark.parametrize(
        "field",
        [
            "lock_ref",
            "host_ref_counter",
            "hit_count",
            "priority",
            "last_access_time",
            "creation_time",
        ],
    )
    def test_show_each_counter_that_changed(self, tree: Any, field: str) -> None:
        tree.nodes.look()
        before = tree.nodes.by_path[path(1, 2)]
        setattr(tree.upper, field, 5)
        tree.nodes.look()
        assert tree.nodes.by_path[path(1, 2)] != before
        assert tree.nodes.at(path(1, 2)) == tree.nodes.by_path[path(1, 2)]

    def test_show_a_tensor_that_was_changed_in_place(self, tree: Any) -> None:
        tree.upper.host_value = torch.tensor([0, 1])
        tree.nodes.look()
        tree.upper.value[1] = 6
        tree.upper.host_value[0] = 5
        tree.nodes.look()
        shown = tree.nodes.by_path[path(1, 2)]
        assert (shown.device, shown.host) == ((9, 6), (5, 1))

    def test_keep_their_paths_through_a_split_above_them(self, tree: Any) -> None:
        tree.nodes.look()
        before = tree.nodes.by_path
        new = real_node(tree.cache.root_node, 1, last_access_time=2.0)
        tree.upper.key, tree.upper.parent = _Key((2,)), new
        new.children = {2: tree.upper}
        tree.nodes.look()
        after = tree.nodes.by_path
        assert set(after) == {path(1), *before}
        assert after[path(1, 2)].length == 1
        assert after[path(1, 2, 3)] is before[path(1, 2, 3)]

    def test_that_left_the_tree_have_no_path_and_are_strays_of_a_set(self, tree: Any) -> None:
        tree.nodes.look()
        assert tree.nodes.strays() == ()
        del tree.upper.children[4]
        tree.nodes.look()
        assert path(1, 2, 4) not in tree.nodes.by_path
        assert tree.nodes.path_of(tree.lower[1]) is None
        assert tree.nodes.path_if_attached(tree.lower[1]) is None
        assert tree.nodes.path(tree.lower[1]) == path(1, 2, 4)
        assert tree.nodes.strays() == ("evictable_leaves: [1, 2, 4]",)

    def test_that_share_a_path_are_told(self, tree: Any) -> None:
        tree.upper.children[7] = double = real_node(None, 3)
        double.parent = tree.upper
        tree.nodes.look()
        assert tree.nodes.strays() == ("1 nodes or paths twice in the tree",)

    def test_that_hang_in_a_circle_are_told(self, tree: Any) -> None:
        tree.lower[0].children[1] = tree.upper
        tree.nodes.look()
        assert len(tree.nodes.by_path) == 3
        assert tree.nodes.strays() == ("1 nodes or paths twice in the tree",)

    def test_are_found_one_by_one(self, tree: Any) -> None:
        asked = [path(1), path(1, 2), path(1, 2, 3), path(1, 2, 5), path(1, 3), path(6)]
        alone = [tree.nodes.at(p) for p in asked]
        tree.nodes.look()
        assert alone == [tree.nodes.by_path.get(p) for p in asked]
        assert [p for p, node in zip(asked, alone, strict=True) if node] == asked[1:3]

    def test_that_were_looked_at_alone_are_new_in_the_whole_too(self, tree: Any) -> None:
        tree.nodes.look()
        tree.upper.lock_ref = 3
        assert tree.nodes.at(path(1, 2)).lock_ref == 3
        tree.nodes.look()
        assert tree.nodes.by_path[path(1, 2)].lock_ref == 3

    def test_may_hang_deep(self, tree: Any) -> None:
        node, depth = tree.lower[0], 5_000
        for token in range(depth):
            node = real_node(node, token)
        tree.nodes.look()
        assert len(tree.nodes.by_path) == depth + 3
        assert tree.nodes.path_if_attached(node).tokens[-1] == depth - 1


# -- the table of differences ----------------------------------------------------------------------


@pytest.mark.parametrize("version", [*KNOWN, "0.5.18+local", "0.5.21"])
def test_every_release_has_exactly_one_way_for_each_difference(version: str) -> None:
    differences(version)


def test_every_row_holds_for_some_release_and_names_its_source() -> None:
    for row in TABLE:
        assert any(version in row.releases for version in KNOWN), row
        assert row.source
