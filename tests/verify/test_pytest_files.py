"""The pytest forms of a finding: valid, formatted, and right on the real releases."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hicache_impl.sglang.releases import KNOWN, KNOWN_UNIFIED
from hicache_model.configuration import Configuration
from hicache_model.laws import LAWS as ALL_LAWS
from hicache_model.operations import (
    BeginRequest,
    CompleteLoads,
    CompleteWrites,
    DecodeRequest,
    EvictDevice,
    ExtendRequest,
    FinishRequest,
    Insert,
    LoadBack,
    Lock,
    Match,
    Operation,
    RetractToHost,
    StartWrites,
    Unlock,
)
from hicache_model.outcomes import (
    OUTCOMES,
    Evicted,
    Inserted,
    LoadedBack,
    Matched,
    Outcome,
)
from hicache_model.snapshot import Node
from hicache_model.snapshot import Path as Path_
from hicache_verify import testing
from hicache_verify.catalogue.entry import SourcePatch
from hicache_verify.divergence import Divergence, NodePair
from hicache_verify.report.code import integers, literal, one_line, quoted
from hicache_verify.report.forms import FORMS, HELPERS, HIRADIX, UNIFIED, Form
from hicache_verify.report.pytest_files import (
    class_name,
    identifier,
    replay_file,
    upstream_file,
    write_pytest_files,
)
from hicache_verify.report.upstream import closure
from hicache_verify.trace import Trace
from tests.fetched import fetched
from tests.model.strategies import instances
from tests.planted.bug import Planted
from tests.planted.planted import BANK
from tests.planted.unified import UNIFIED as UNIFIED_BANK
from tests.processes import python
from tests.verify.upstream_child import run_upstream
from tests.verify.vocabulary import TRACES

FOUR = Trace(
    Configuration(),
    "sglang",
    "0.5.10.post1",
    (Insert((1,)), EvictDevice(1), Insert((1, 2)), EvictDevice(2)),
)
MESSAGE = "node [1] is in evictable_host_leaves, but its child [1, 2] is still backed up"
BROKEN = Divergence("law", "host-leaves", "law", MESSAGE, 3, FOUR.operations[-1])


# -- what is written -------------------------------------------------------------------------------

REPLAY = '''\
"""host-leaves: The kept set evictable_host_leaves is exactly the evicted, unlocked
nodes without a backed-up child.

node [1] is in evictable_host_leaves, but its child [1, 2] is still backed up

Needs hicache-verify. HICACHE_VERIFY_RELEASE in the environment names another release.
"""

import os

import pytest

from hicache_model.configuration import Configuration
from hicache_model.operations import EvictDevice, Insert
from hicache_verify.testing import divergence_report
from hicache_verify.trace import Trace

TARGET = "sglang"
RELEASE = os.environ.get("HICACHE_VERIFY_RELEASE", "0.5.10.post1")
TRACE = Trace(
    Configuration(),
    TARGET,
    RELEASE,
    (Insert((1,)), EvictDevice(1), Insert((1, 2)), EvictDevice(2)),
)


def test_host_leaves_1():
    report = divergence_report(TRACE)
    if report is not None:
        pytest.fail(report, pytrace=False)
'''


def test_the_replay_form_looks_like_this() -> None:
    assert replay_file(FOUR, BROKEN, "host-leaves-1") == REPLAY


def test_the_numbers_in_the_name_of_a_class_stay_apart() -> None:
    assert class_name("host-leaves-1") == "TestHostLeaves1"
    assert class_name("39444-0.5.21-1") == "Test39444_0_5_21_1"


def test_the_upstream_form_is_plain_calls_and_the_law() -> None:
    text = upstream_file(FOUR, BROKEN, "host-leaves-1")
    assert "hicache_verify" not in text
    assert (
        """\
class TestHostLeaves1(unittest.TestCase):
    def test_host_leaves_1(self):
        self.insert([1])
        self.cache.evict(EvictParams(num_tokens=1))
        self.insert([1, 2])
        self.cache.evict(EvictParams(num_tokens=2))

        kept = [self.prefix(node) for node in self.cache.evictable_host_leaves]
        due = [
            self.prefix(node)
            for node in self.nodes()
            if node.evicted
            and node.lock_ref == 0
            and not any(child.backuped for child in node.children.values())
        ]
        self.assertCountEqual(kept, due)

    def setUp(self):
"""
        in text
    )


def test_both_files_are_written_under_their_names(tmp_path: Path) -> None:
    paths = write_pytest_files(tmp_path, "host-leaves-1", FOUR, BROKEN)
    assert [path.name for path in paths] == [
        "test_host_leaves_1_replay.py",
        "test_host_leaves_1_upstream.py",
    ]
    assert all(path.read_text() for path in paths)
    assert identifier("../evil name!") == "evil_name"
    assert identifier("!") == "finding"


_DIVERGENCES = st.none() | st.builds(
    Divergence,
    kind=st.sampled_from(["law", "outcome", "state", "crash"]),
    law=st.sampled_from([*sorted(ALL_LAWS), "answer", "no-crash"]),
    oracle=st.just("law"),
    message=st.text(),
    step=st.just(0),
    operation=st.none(),
    exception=st.just("KeyError"),
    due=st.none() | st.sampled_from(OUTCOMES).flatmap(instances),
)


def executed(text: str) -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": "generated"}
    exec(compile(text, "generated", "exec"), names)  # noqa: S102 - our own text
    return names


@given(TRACES, _DIVERGENCES)
def test_the_replay_form_holds_the_trace_itself(trace: Trace, found: Divergence | None) -> None:
    text = replay_file(trace, found, "any")
    trace = trace.with_(provenance={})
    assert executed(text)["TRACE"] == trace


_PLACES = st.one_of(
    st.tuples(st.just("sglang"), st.sampled_from(KNOWN)),
    st.tuples(
        st.sampled_from(["sglang-unified", "sglang-unified-rust"]), st.sampled_from(KNOWN_UNIFIED)
    ),
)
_FINDINGS = st.tuples(TRACES, _DIVERGENCES, _PLACES)


def placed(trace: Trace, place: tuple[str, str]) -> Trace:
    return attrs.evolve(trace, target=place[0], release=place[1])


@settings(max_examples=5, deadline=None)
@given(st.lists(_FINDINGS, min_size=10, max_size=20))
def test_both_forms_are_as_ruff_would_format_them(
    findings: list[tuple[Trace, Divergence | None, tuple[str, str]]],
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for number, (trace, found, place) in enumerate(findings):
            write_pytest_files(Path(folder), str(number), placed(trace, place), found)
        ran = python("-m", "ruff", "format", "--isolated", "--diff", folder)
        assert ran.code == 0, ran.out


@settings(deadline=None)
@given(TRACES, _DIVERGENCES, _PLACES)
def test_a_helper_that_is_called_is_written(
    trace: Trace, found: Divergence | None, place: tuple[str, str]
) -> None:
    text = upstream_file(placed(trace, place), found, "any")
    compile(text, "generated", "exec")
    form = FORMS[place[0]]
    for name in {*HELPERS.values(), *form.needs, "nodes", "node", "prefix", "content", "fill"}:
        if f"self.{name}(" in text:
            assert f"    def {name}(self" in text
        if name.endswith("Params") and f"{name}(" in text:
            assert f"import {name}" in text or f" {name},\n" in text or f", {name}" in text


def test_what_has_no_form_in_plain_calls_is_said() -> None:
    order = attrs.evolve(BROKEN, law="policy-order")
    assert "# What broke here (policy-order) is judged against" in upstream_file(FOUR, order, "x")
    crash = attrs.evolve(BROKEN, law="no-crash", kind="crash", exception="KeyError")
    assert "# The last call raised KeyError where" in upstream_file(FOUR, crash, "x")
    operations = (Insert((1, 2)), StartWrites(), EvictDevice(1))
    text = upstream_file(Trace(Configuration(), "sglang", "0.5.18", operations), BROKEN, "x")
    said = " ".join(text.replace("#", " ").split())
    assert (
        "queues no writes that could be started: this test stops before operation 2 of 3." in said
    )
    assert "self.assert" not in text


@pytest.mark.parametrize(
    ("configuration", "operation", "reason"),
    [
        (Configuration(), RetractToHost(0), "What a retraction keeps on the host"),
        (Configuration(component="swa"), BeginRequest(0, (1, 2), 2), "A component beside full"),
        (Configuration(), BeginRequest(0, (1, 2), 2, outputs=1), "that was retracted before has"),
        (Configuration(strip_thinking=True), BeginRequest(0, (1, 2), 2), "thoughts are stripped"),
        (Configuration(bigram=True), BeginRequest(0, (1, 2), 2), "keys of pairs has no form"),
    ],
)
@pytest.mark.parametrize("target", ["sglang-unified", "sglang-unified-rust"])
def test_what_requests_of_the_unified_cache_lack_in_plain_calls_is_said(
    configuration: Configuration, operation: Operation, reason: str, target: str
) -> None:
    text = upstream_file(Trace(configuration, target, "0.5.23", (operation,)), BROKEN, "x")
    assert reason in " ".join(text.replace("#", " ").split())
    assert "self.begin" not in text


def test_every_release_has_one_way_of_each() -> None:
    assert_one_way(HIRADIX, KNOWN)
    assert_one_way(UNIFIED, KNOWN_UNIFIED)
    assert set(HIRADIX.laws) | set(UNIFIED.laws) <= set(ALL_LAWS)
    needed = closure(["load_back"], HIRADIX.needs)
    assert needed >= {"match", "load", "key", "MatchPrefixParams"}


def assert_one_way(form: Form, releases: Sequence[str]) -> None:
    for release in releases:
        for name in {way.name for way in form.ways}:
            fitting = [way for way in form.ways if way.name == name and release in way.releases]
            assert len(fitting) == 1, (release, name)
        assert form.of(release)["token_ids"]


@given(st.text())
def test_strings_are_their_own_literals(text: str) -> None:
    assert executed(f"x = {quoted(text)}")["x"] == text
    assert quoted(text).isascii()


def test_long_runs_of_tokens_are_ranges() -> None:
    assert integers(tuple(range(5, 20))) == "list(range(5, 20))"
    assert one_line(integers((3, 1))) == "[3, 1]"
    assert one_line(literal(Insert((1,), priority=2))) == "Insert((1,), priority=2)"


# -- on the real releases --------------------------------------------------------------------------


def test_the_upstream_form_fails_with_the_law_where_the_defect_is(tmp_path: Path) -> None:
    _, path = write_pytest_files(tmp_path, "host-leaves", FOUR, BROKEN)
    ran = run_upstream(path, "0.5.10.post1")
    assert ran.code == 1, ran.out + ran.err
    assert "self.assertCountEqual(kept, due)" in ran.out
    assert "First has 1, Second has 0:  (None, [1])" in ran.out


def test_the_upstream_form_passes_where_it_is_mended(tmp_path: Path) -> None:
    _, path = write_pytest_files(tmp_path, "host-leaves", FOUR.with_(release="0.5.18"), BROKEN)
    ran = run_upstream(path, "0.5.18")
    assert ran.code == 0, ran.out + ran.err
    assert "1 passed" in ran.out


IN_VAIN = Trace(
    Configuration("write_through", device_slots=8, host_slots=4),
    "sglang-unified",
    "0.5.23",
    (
        *(BeginRequest(0, (1, 2), 2), FinishRequest(0), CompleteWrites(1)),
        *(EvictDevice(2), Insert((3, 4, 5, 6, 7))),
    ),
)


@pytest.mark.parametrize("planted", [False, True])
@pytest.mark.parametrize(
    ("target", "bug"),
    [
        ("sglang", BANK["finished_request_keeps_its_lock"]),
        ("sglang-unified", UNIFIED_BANK["checkpoint_keeps_the_old_lock"]),
    ],
)
def test_what_a_cache_does_for_a_request_itself_is_called_and_not_restated(
    target: str, bug: Planted, planted: bool, tmp_path: Path
) -> None:
    operations = (BeginRequest(0, (1, 2), 2), FinishRequest(0))
    due = Node(Path_(None, (1, 2)), 2, (1, 2), None, 0, 0, True, False)
    held = NodePair(due.path, due, attrs.evolve(due, lock_ref=1))
    found = Divergence("law", "lock-balance", "law", "", 1, operations[-1], (held,))
    _, path = write_pytest_files(
        tmp_path, "held", Trace(Configuration(), target, bug.release, operations), found
    )
    patch = SourcePatch(*bug.edits[0].patch) if planted else None
    ran = run_upstream(path, bug.release, "hiradix" if target == "sglang" else "unified", patch)
    assert ran.code == planted, ran.out + ran.err
    assert ("lock_ref, 0)" in ran.out) == planted


def test_what_the_model_predicts_of_a_node_is_asserted(tmp_path: Path) -> None:
    host_only = Node(Path_(None, (1, 2)), 2, None, (0, 1), 0, 0, False, True)
    found = Divergence(
        *("state", "transition", "model", "node [1, 2] should be in the tree, and is not", 4, None),
        nodes=(NodePair(host_only.path, host_only, None),),
    )
    _, path = write_pytest_files(tmp_path, "backup-in-vain", IN_VAIN, found)
    assert "        self.assertIsNotNone(self.find([1, 2]))\n" in path.read_text()
    ran = run_upstream(path, "0.5.23", "unified")
    assert ran.code == 1, ran.out + ran.err
    assert "self.assertIsNotNone(self.find([1, 2]))" in ran.out


def test_an_order_that_parts_is_asserted() -> None:
    one, other = (Node(Path_(None, (n,)), 1, (n,), None, 0, 0, True, False) for n in (1, 2))
    earlier, later = attrs.evolve(one, last_access=3), attrs.evolve(one, last_access=5)
    found = Divergence(
        *("state", "policy-order", "model", "oldest last accessed first", 4, None),
        nodes=(
            NodePair(one.path, earlier, later),
            NodePair(other.path, attrs.evolve(other, last_access=4), attrs.evolve(other)),
        ),
    )
    assert """\
        earlier = self.find([1])
        later = self.find([2])
        self.assertLess(earlier.last_access_time, later.last_access_time)
""" in upstream_file(IN_VAIN, found, "x")


SALTED = (Insert((1, 2), "a#b"), Insert((1, 2), "a"), Insert((1, 2)))


def test_a_salt_stands_beside_the_extra_key_where_a_release_knows_it() -> None:
    node = Node(Path_("#b", (1, 2)), 2, (1, 2), None, 0, 0, False, False)
    found = Divergence(
        *("state", "transition", "model", "node #b:[1, 2] should not be in the tree", 2, None),
        nodes=(NodePair(node.path, None, node),),
    )
    text = upstream_file(IN_VAIN.with_(operations=SALTED), found, "x")
    assert (
        """\
        self.insert([1, 2], namespace=("a", "b"))
        self.insert([1, 2], namespace=("a", None))
        self.insert([1, 2])

        self.assertIsNone(self.find([1, 2], namespace=(None, "b")))
"""
        in text
    )
    assert "extra_key, cache_salt=salt)" in text
    unsalted = upstream_file(IN_VAIN.with_(operations=SALTED, release="0.5.17"), found, "x")
    assert 'self.insert([1, 2], namespace="a#b")' in unsalted
    assert "cache_salt" not in unsalted


@pytest.mark.parametrize("target", ["sglang", "sglang-unified"])
def test_requests_grow_page_by_page_where_pages_have_several_tokens(target: str) -> None:
    operations = (BeginRequest(0, (1, 2, 3), 2), DecodeRequest(0, 4), FinishRequest(0))
    trace = Trace(Configuration(page_size=2), target, "0.5.18", operations)
    text = upstream_file(trace, None, "x")
    assert "self.allocator.alloc_extend(" in text
    assert "self.allocator.alloc_decode(" in text
    assert "self.begin(0, [1, 2, 3], chunk=2)\n" in text


@pytest.mark.parametrize(
    ("operation", "due", "written"),
    [
        (
            Match((1, 2)),
            Matched(2, 1),
            """\
        answer = self.match([1, 2])

        self.assertEqual(answer.device_prefix_len, 2)
        self.assertEqual(answer.host_hit_length, 1)
""",
        ),
        (
            Insert((1, 2)),
            Inserted(1),
            """\
        answer = self.insert([1, 2])

        self.assertEqual(answer, 1)
""",
        ),
        (
            LoadBack((1, 2), quota=0),
            LoadedBack(0),
            """\
        answer = self.load_back([1, 2], quota=0)

        self.assertEqual(answer, 0)
""",
        ),
        (
            EvictDevice(3),
            Evicted(2),
            """\
        answer = self.cache.evict(EvictParams(num_tokens=3))

        self.assertEqual(answer.num_tokens_evicted, 2)
""",
        ),
    ],
)
def test_what_should_have_been_answered_is_asserted(
    operation: Operation, due: Outcome, written: str
) -> None:
    trace = IN_VAIN.with_(operations=(operation,))
    found = Divergence("outcome", "answer", "model", "", 0, operation, due=due)
    assert written in upstream_file(trace, found, "x")


LACKS_A_COPY = Divergence(
    *("law", "promised-backup", "law", "node [1] was inserted and has no host copy", 1, None),
    nodes=(
        NodePair(
            Path_(None, (1,)),
            Node(Path_(None, (1,)), 1, (0,), (0,), 0, 0, True, False),
            Node(Path_(None, (1,)), 1, (0,), None, 0, 0, True, False),
        ),
    ),
)
IN_CHUNKS = (BeginRequest(0, (1, 2, 3), 1), ExtendRequest(0, 1))


def test_what_a_law_without_a_form_says_of_a_node_is_asserted() -> None:
    text = upstream_file(IN_VAIN.with_(operations=IN_CHUNKS), LACKS_A_COPY, "x")
    assert (
        """\
        self.begin(0, [1, 2, 3], chunk=1)
        self.extend(0, chunk=1)

        node = self.find([1])
        self.assertEqual(node.backuped, True)
"""
        in text
    )


def test_an_eviction_that_comes_short_is_asserted() -> None:
    trace = IN_VAIN.with_(operations=(EvictDevice(3),))
    left = NodePair(Path_(None, (1,)), None, None)
    found = Divergence("law", "progress", "law", "", 0, trace.operations[0], (left,))
    assert """\
        answer = self.cache.evict(EvictParams(num_tokens=3))

        evicted = answer.num_tokens_evicted
        self.assertGreaterEqual(evicted, min(3, evicted + self.cache.evictable_size()))
""" in upstream_file(trace, found, "x")


_ON_DEVICE = Node(Path_("a", (1, 2)), 1, (1,), None, 0, 0, False, False)


@pytest.mark.parametrize(
    ("due", "actual", "written"),
    [
        (None, _ON_DEVICE, ["assertLess({device} + answer.host_hit_length, 2)"]),
        (
            _ON_DEVICE,
            None,
            [
                "assertEqual({device}, 2)",
                "assertEqual({device} + answer.host_hit_length, 2)",
            ],
        ),
        (
            attrs.evolve(_ON_DEVICE, device=None, host=(0,)),
            _ON_DEVICE,
            [
                "assertLess({device}, 2)",
                "assertEqual({device} + answer.host_hit_length, 2)",
            ],
        ),
        (
            attrs.evolve(_ON_DEVICE, host=(0,)),
            _ON_DEVICE,
            ["assertEqual(self.cache.is_backuped(answer.last_device_node), True)"],
        ),
    ],
)
def test_a_node_that_cannot_be_looked_into_is_looked_up(
    due: Node | None, actual: Node | None, written: list[str]
) -> None:
    pair = NodePair(_ON_DEVICE.path, due, actual)
    found = Divergence("state", "transition", "model", "", 0, None, (pair,))
    trace = IN_VAIN.with_(operations=(StartWrites(),), target="sglang-unified-rust")
    for release, device in (
        ("0.5.21", "len(answer.device_indices)"),
        ("0.5.22", "answer.device_prefix_len"),
    ):
        text = upstream_file(trace.with_(release=release), found, "x")
        lines = ['answer = self.match([1, 2], namespace="a")', *(f"self.{w}" for w in written)]
        due_text = "".join(f"        {line}\n" for line in lines).format(device=device)
        assert due_text in text


def test_each_fact_that_parts_is_asserted() -> None:
    due = Node(Path_("a", (1,)), 1, (1,), None, 1, 0, False, False)
    found = Divergence(
        *("state", "lock-balance", "model", "node a[1]: lock_ref is 2, due 1", 0, None),
        nodes=(NodePair(due.path, due, attrs.evolve(due, lock_ref=2, device=None, host=(0,))),),
    )
    assert """\
        node = self.find([1], namespace="a")
        self.assertEqual(node.evicted, False)
        self.assertEqual(node.backuped, False)
        self.assertEqual(node.component_data[FULL].lock_ref, 1)
""" in upstream_file(IN_VAIN, found, "x")


@pytest.mark.slow
def test_the_replay_form_fails_with_the_listing_and_passes_on_a_mended_release() -> None:
    for release in ("0.5.10.post1", "0.5.18"):
        fetched(release)
    report = testing.divergence_report(FOUR)
    assert report is not None
    assert "✗ host-leaves: the law is broken" in report
    assert testing.divergence_report(FOUR.with_(release="0.5.18")) is None
    with pytest.raises(testing.IllegalTrace, match="operation 1 is not legal in its state"):
        testing.divergence_report(FOUR.with_(operations=(Unlock((1,)),)))


def test_operations_of_every_kind_have_a_form() -> None:
    operations = (
        Insert((1, 2, 3), namespace="it's", priority=4, chunked=True),
        Lock((1, 2, 3), namespace="it's"),
        Unlock((1, 2, 3), namespace="it's"),
        LoadBack((1, 2), quota=5),
        CompleteLoads(2),
        BeginRequest(3, (1, 2), 1),
    )
    text = upstream_file(FOUR.with_(operations=operations), None, "x")
    assert (
        """\
        self.insert([1, 2, 3], namespace="it's", priority=4, chunked=True)
        self.lock([1, 2, 3], namespace="it's")
        self.unlock([1, 2, 3], namespace="it's")
        self.load_back([1, 2], quota=5)
        self.complete(self.controller.ack_load_queue, 2)
        self.begin(3, [1, 2], chunk=1)
"""
        in text
    )
