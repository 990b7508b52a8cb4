"""The listing: read by people, so the whole of it is held here as it looks."""

from __future__ import annotations

import attrs
import pytest

from hicache_model.configuration import Configuration
from hicache_model.dialects import Dialect
from hicache_model.operations import (
    BeginRequest,
    CompleteWrites,
    EvictDevice,
    Insert,
    LoadBack,
    Lock,
    Operation,
)
from hicache_model.outcomes import LoadsStarted, OutOfMemory
from hicache_model.reference import Reference
from hicache_model.snapshot import Node, Path, Snapshot, Transfer
from hicache_verify.divergence import Divergence, NodePair
from hicache_verify.replay import Step
from hicache_verify.report import words
from hicache_verify.report.drawing import draw
from hicache_verify.report.listing import listing
from hicache_verify.trace import Trace


def steps(configuration: Configuration, *operations: Operation) -> list[Step]:
    """What the reference shows; a target that agrees shows the same."""
    model = Reference(configuration, Dialect.of("0.5.18"))
    return [Step(op, model.apply(op), model.snapshot()) for op in operations]


FOUR = (Insert((1,)), EvictDevice(1), Insert((1, 2)), EvictDevice(2))
ONE = Path(None, (1,))


def broken_four() -> tuple[Trace, list[Step], Divergence]:
    played = steps(Configuration(), *FOUR)
    last = played[-1].snapshot
    assert last is not None
    due = last.nodes[ONE]
    assert due is not None
    found = attrs.evolve(due, in_host_leaves=True)
    played[-1] = played[-1]._replace(
        snapshot=attrs.evolve(last, nodes={**last.nodes, ONE: found}, host_leaf_count=2)
    )
    message = "node [1] is in evictable_host_leaves, but its child [1, 2] is still backed up"
    divergence = Divergence(
        "law", "host-leaves", "law", message, 3, FOUR[-1], (NodePair(ONE, due, found),)
    )
    trace = Trace(Configuration(), "sglang", "0.5.10.post1", FOUR)
    return trace, played, attrs.evolve(divergence, resembles="#19212")


EXPECTED = """\
sglang 0.5.10.post1 · 4 operations, host-leaves breaks at the last
write_back, lru, page size 1, GPU 8 slots, host 12 slots

  1  insert [1]  →  all new to the GPU
     └─ [1]  G   on GPU             device leaf
     free: GPU 7 of 8, host 12 of 12 · evictable 1, protected 0

  2  evict device 1  →  1 freed
     └─ [1]   H  evicted, on host   host leaf
     free: GPU 8 of 8, host 11 of 12 · evictable 0, protected 0

  3  insert [1, 2]  →  all new to the GPU
     └─ [1]     GH  on GPU, backed up
        └─ [2]  G   on GPU             device leaf
     free: GPU 6 of 8, host 11 of 12 · evictable 2, protected 0

  4  evict device 2  →  2 freed
  ✗  └─ [1]      H  evicted, on host   host leaf
        └─ [2]   H  evicted, on host   host leaf
     free: GPU 8 of 8, host 10 of 12 · evictable 0, protected 0

✗ host-leaves: the law is broken; it resembles #19212
  node [1] is in evictable_host_leaves, but its child [1, 2] is still backed up
  node  should be         is
  [1]   evicted, on host  evicted, on host · host leaf
"""


def test_a_finding_looks_like_this() -> None:
    assert listing(*broken_four()) == EXPECTED


def test_without_unicode_it_keeps_its_shape() -> None:
    text = listing(*broken_four(), ascii_only=True)
    assert text.isascii()
    assert [len(line) for line in text.splitlines()] == [
        len(line) for line in EXPECTED.splitlines()
    ]


def test_locks_transfers_requests_and_namespaces_are_shown() -> None:
    configuration = Configuration(
        write_policy="write_through", device_slots=32, host_slots=64, page_size=2
    )
    operations = (
        Insert((1, 2, 3, 4)),
        Insert((1, 2, 5, 6), namespace="tenant"),
        CompleteWrites(1),
        EvictDevice(4),
        LoadBack((1, 2, 3, 4)),
        Lock((1, 2, 5, 6), namespace="tenant"),
        BeginRequest(3, (1, 2, 3, 4, 7), 9),
    )
    played = steps(configuration, *operations)
    text = listing(Trace(configuration, "sglang", "0.5.18", operations), played)
    assert (
        """\
  7  begin request 3 [1, 2, 3, 4, 7] chunk=9  →  4 from the GPU, 0 loaded from the host
     (no namespace)
     └─ [1, 2, 3, 4]  GH  on GPU, backed up  locked 2x · load in flight · load queued
""".replace(" · load in flight · load queued", " · load in flight")
        in text
    )
    assert (
        """\
     namespace tenant
     └─ [1, 2, 5, 6]  GH  on GPU, backed up  locked 2x · write in flight
     request 3: [1, 2, 3, 4, 7], 5 computed, 4 of them the tree's, holds [1, 2, 3, 4]
"""
        in text
    )
    assert "cache and model agree after each" in text


def test_it_stays_within_its_width_whatever_the_tree_is_like() -> None:
    configuration = Configuration(
        write_policy="write_through", device_slots=4096, host_slots=8192, context_length=9
    )
    chain = [Insert(tuple(range(100000, 100000 + n)), namespace="n") for n in range(3, 150, 3)]
    lock = Lock(chain[-1].tokens, namespace="n")
    operations: tuple[Operation, ...] = (*chain, lock, BeginRequest(1, (1, 2), 5))
    played = steps(configuration, *operations)
    trace = Trace(configuration, "sglang", "0.5.18", operations)
    for width in (80, 100, 120):
        text = listing(trace, played[-2:], width=width)
        assert max(map(len, text.splitlines())) <= width
    assert "namespace=n" in text


def test_what_a_terminal_would_obey_is_spelled_out() -> None:
    evil = "\x1b]0;owned\x07\n\u202e"
    op = Insert((1,), namespace=evil)
    trace = Trace(Configuration(), evil, "0.5.18", (op,))
    divergence = Divergence("crash", "no-crash", "engine", evil, 0, op, exception=evil)
    text = listing(trace, [Step(op, None, None)], divergence, illegal=(0, evil))
    assert all(line.isprintable() for line in text.splitlines())
    assert "the cache could no longer be looked at" in text


def test_where_a_replay_stopped_is_said_with_the_line_of_the_file() -> None:
    trace = Trace(Configuration(), "sglang", "0.5.18", FOUR)
    text = listing(trace, steps(Configuration(), *FOUR[:2]), illegal=(2, "it needs 9 slots"))
    assert text.endswith(
        "stopped before operation 3 (line 4 of the trace): insert [1, 2]\n"
        "  it is not legal there: it needs 9 slots\n"
    )


def test_strangers_and_lost_transfers_are_named() -> None:
    snapshot = Snapshot(
        nodes={ONE: None},
        evictable_size=0,
        protected_size=3,
        device_leaf_count=0,
        host_leaf_count=1,
        device_free=(),
        host_free=(),
        transfers=(Transfer("load", False, (None,)), Transfer("write", True, (None,))),
        strays=("evictable_host_leaves: [9]",),
    )
    trace = Trace(Configuration(), "sglang", "0.5.18", FOUR)
    text = listing(trace, [Step(FOUR[0], OutOfMemory(4), snapshot)])
    assert (
        """\
  1  insert [1]  →  out of memory: 4 needed
     (the tree is empty)
     load queued for a node that left the tree
     write in flight for a node that left the tree
     kept but not in the tree: evictable_host_leaves: [9]
     free: GPU 0 of 8, host 0 of 12 · evictable 0, protected 3
"""
        in text
    )


def test_a_node_whose_parent_is_gone_is_drawn_below_the_next_one_up() -> None:
    lost = Node(Path(None, (1, 2, 3)), 1, None, None, 0, 0, False, False)
    top = Node(ONE, 1, (1,), None, 0, 0, False, False)
    snapshot = Snapshot({ONE: top, lost.path: lost}, 1, 0, 0, 0, (), ())
    assert [line for _, line in draw(snapshot)] == [
        "└─ [1]     G   on GPU",
        "   └─ [3]      nowhere",
    ]


@pytest.mark.parametrize(
    ("tokens", "text"),
    [
        ((1, 2), "[1, 2]"),
        (tuple(range(100)), "[0, 1, 2, 3, 4, 5, … 88 more …, 94, 95, 96, 97, 98, 99]"),
        ((1 << 30,) * 3, "[1073741824, 1073741824, 1073741824]"),
    ],
)
def test_long_lists_lose_their_middle(tokens: tuple[int, ...], text: str) -> None:
    assert words.tokens_text(tokens) == text


def test_whether_a_load_started_is_said() -> None:
    assert words.outcome_text(LoadsStarted(True)) == "a transfer started"
    assert words.outcome_text(LoadsStarted(False)) == "nothing to start"
    assert words.shorten("abcdefghij", 5) == "ab…ij"


def test_what_the_phrases_hide_is_named_where_it_differs() -> None:
    node = Node(ONE, 1, (1,), None, 0, 0, False, False, hit_count=1)
    pair = words.node_texts(node, attrs.evolve(node, hit_count=2))
    assert pair == ("on GPU · hit count 1", "on GPU · hit count 2")
    assert words.node_texts(None, node) == ("not in the tree", "on GPU")
