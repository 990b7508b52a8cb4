"""An eviction policy of the user's: model and cache use the same code, only when it is given."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hicache_impl.native.target import NativeFactory
from hicache_model.configuration import Configuration
from hicache_model.operations import EvictDevice, Insert, Match, Operation
from hicache_model.policies import BadPolicy, UnknownPolicy, add_own, is_own_name, named
from hicache_verify import own_policy, trace
from hicache_verify.report.pytest_files import write_pytest_files
from hicache_verify.targets import BadTarget, TargetSpec, open_factory
from hicache_verify.trace import Trace
from tests.processes import python

CODE = """
from itertools import count

drawn = count()


def most_recent(node):
    return -node.last_access


def all_equal(node):
    return ()


def by_hits(node):
    return 1 / node.hit_count


def words(node):
    return "first"


def drifts(node):
    return next(drawn)


number = 3
"""


@pytest.fixture(autouse=True)
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "mine.py"
    path.write_text(CODE)
    return path


# -- in one process --------------------------------------------------------------------------------


def on_device(policy: str, *operations: Operation) -> list[tuple[int, ...]]:
    factory = open_factory(TargetSpec("native", policy=policy))
    assert isinstance(factory, NativeFactory)
    target = factory.build(Configuration(eviction_policy=policy, device_slots=4))
    for operation in operations:
        target.perform(operation)
    nodes = target.observe().nodes
    return sorted(path.tokens for path, node in nodes.items() if node and node.device is not None)


THREE = (Insert((1,)), Insert((2,)), Insert((3,)), Match((1,)))


def test_the_cache_evicts_in_the_order_of_the_function() -> None:
    assert on_device("mine.py:most_recent", *THREE, EvictDevice(1)) == [(2,), (3,)]


def test_of_nodes_with_equal_keys_the_older_goes_first() -> None:
    assert on_device("mine.py:all_equal", *THREE, EvictDevice(1)) == [(2,), (3,)]
    assert on_device("mine.py:all_equal", *THREE, EvictDevice(2)) == [(3,)]


def test_a_key_may_be_a_number_or_numbers() -> None:
    add_own("here:one", lambda node: node.priority)
    add_own("here:two", lambda node: (node.priority, node.hit_count))
    node = SimpleNamespace(priority=3, hit_count=5, creation=7, last_access=9)
    assert named("here:one")(node) == (3, 7)
    assert named("here:two")(node) == (3, 5, 7)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("mine.py:none", "mine.py has no none"),
        ("mine.py:number", "mine.py has no function number"),
        ("other.py:score", "other.py cannot be imported: FileNotFoundError"),
        ("no_such.module:score", "no_such.module cannot be imported: ModuleNotFoundError"),
        ("mine.py:by_hits", "mine.py:by_hits raised ZeroDivisionError"),
        ("mine.py:words", "gave 'first', not an integer"),
        ("mine.py:drifts", "gave two keys for the same counters"),
        ("mine.py", "names no code"),
    ],
)
def test_what_is_no_policy_is_refused_before_anything_runs(name: str, words: str) -> None:
    with pytest.raises(BadPolicy, match=re.escape(words)):
        own_policy.add(name)


def test_a_module_that_breaks_when_imported_is_told(code: Path) -> None:
    code.write_text("raise KeyError('broken')")
    with pytest.raises(BadPolicy, match="cannot be imported: KeyError: 'broken'"):
        own_policy.add("mine.py:score")


def test_names_of_code_are_not_mistaken_for_others() -> None:
    assert is_own_name("a/b.py:f")
    assert is_own_name("a.b:f_2")
    for name in ("lru", "a:b:c", "a:", ":f", "a b:f", "a:2", "a,b:f", "x" * 300 + ":f"):
        assert not is_own_name(name), name


def test_only_our_own_cache_takes_one() -> None:
    with pytest.raises(BadTarget, match="needs --target native"):
        TargetSpec(policy="mine.py:most_recent")


def test_a_target_with_a_policy_names_itself_again() -> None:
    spec = TargetSpec("native", device="cpu", policy="my file.py:f")
    assert spec.options == "--target native --eviction-policy 'my file.py:f' --device cpu"


# -- on the command line ---------------------------------------------------------------------------


def test_run_finds_no_divergence_under_a_policy_that_both_sides_use(cli: Any) -> None:
    policies = "mine.py:most_recent,lru"
    amount = ("--examples", "4")
    assert cli("run", "--target", "native", "--eviction-policy", policies, *amount).code == 0


def test_a_policy_that_cannot_be_used_ends_the_run_with_one_line(cli: Any) -> None:
    command = ("run", "--target", "native", "--examples", "1", "--eviction-policy")
    unusable, two = cli(*command, "mine.py:words"), cli(*command, "mine.py:words,mine.py:drifts")
    assert (unusable.code, unusable.err.count("\n")) == (2, 1)
    assert (two.code, two.err.count("\n")) == (2, 1)
    assert "one policy of your own at a time" in two.err


def test_a_trace_runs_no_code_by_itself_and_is_replayed_where_the_code_is_given(
    cli: Any,
) -> None:
    name = "mine.py:most_recent"
    configuration = Configuration(eviction_policy=name, device_slots=4)
    trace.write("one.jsonl", Trace(configuration, "native", "0.5.18", (*THREE, EvictDevice(1))))
    assert trace.read("one.jsonl").configuration.eviction_policy == name
    code, _, said = cli("replay", "one.jsonl")
    assert code == 2
    assert said.count("\n") == 1
    assert f"add --eviction-policy {name}" in said
    assert cli("replay", "one.jsonl", "--eviction-policy", name).code == 0
    assert cli("replay", "one.jsonl", "--eviction-policy", "lru").code == 0
    assert cli("replay", "one.jsonl", "--eviction-policy", "other").code == 2


def test_a_name_whose_code_was_not_given_is_unknown() -> None:
    with pytest.raises(UnknownPolicy, match="add --eviction-policy nobody:knows"):
        named("nobody:knows")


def test_the_policy_in_the_documentation_is_one(code: Path) -> None:
    page = Path(__file__).resolve().parents[2] / "docs" / "native-cache.md"
    (text,) = re.findall(r"```python\n# my_policy.py\n(.*?)```", page.read_text(), re.DOTALL)
    code.write_text(text)
    assert on_device("mine.py:score", *THREE, EvictDevice(1)) == [(2,), (3,)]


def test_a_pytest_file_of_a_finding_runs_under_the_policy() -> None:
    name = "mine.py:most_recent"
    operations = (Insert((1,)), Insert((1, 2)), EvictDevice(1), EvictDevice(1))
    configuration = Configuration(eviction_policy=name, device_slots=4)
    found = Trace(configuration, "native", "0.5.18", operations)
    made, _ = write_pytest_files(Path(), "it", found, None)
    ran = python("-m", "pytest", "-q", str(made), folder=Path.cwd())
    assert ran.code == 0, ran.out
    assert "1 passed" in ran.out
