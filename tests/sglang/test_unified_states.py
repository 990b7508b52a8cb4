"""UnifiedRadixCache with Mamba states beside full attention: it runs, and agrees."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hicache_model.configuration import Configuration
from hicache_model.operations import (
    BeginRequest,
    EvictDevice,
    EvictHost,
    FinishRequest,
    Insert,
    LoadBack,
    Lock,
    Match,
)
from tests.processes import command
from tests.sglang.test_unified_rust import on_its_python
from tests.sglang.test_unified_window import RELEASE
from tests.sglang.test_unified_window import run as run_with


def run(*script: Any, **sizes: Any) -> list[Any]:
    return run_with(*script, component="mamba", **sizes)


def test_a_split_leaves_the_state_below_and_a_lookup_ends_where_there_is_one() -> None:
    _, split, between, whole = run(
        Insert((1, 2)), Insert((1, 3)), Match((1,)), Match((1, 2)), write_policy="write_through"
    )
    assert split[1] == {
        "(1,)": [True, False, False, 0],
        "(1, 2)": [True, True, True, 1],  # a write locks it
        "(1, 3)": [True, True, True, 1],
    }
    assert between[0]["device_length"] == 0
    assert whole[0]["device_length"] == 2


def test_an_insert_gives_a_tombstone_its_state_and_drops_a_second_one() -> None:
    *_, filled, again = run(
        Insert((1,)), Insert((1, 2)), EvictDevice(1, "mamba"), Insert((1,)), Insert((1,))
    )
    assert filled[1]["(1,)"] == [True, True, True, 0]
    assert filled[2] == ["(1, 2)", "(1,)"]  # the newest is last
    assert again[3] == filled[3]


def test_a_lock_holds_one_state_and_none_above_it() -> None:
    *_, evicted = run(Insert((1,)), Insert((1, 2)), Lock((1, 2)), EvictDevice(2, "mamba"))
    assert evicted[0]["component_tokens"] == 1
    assert evicted[1] == {"(1,)": [True, False, True, 0], "(1, 2)": [True, True, False, 1]}


def test_only_the_last_state_is_loaded_back() -> None:
    *_, loaded, gone = run(
        Insert((1,)), Insert((1, 2)), EvictDevice(2), LoadBack((1, 2)), EvictHost(1, "mamba")
    )
    assert loaded[0] == {"tokens": 2}
    assert loaded[1] == {"(1,)": [True, False, True, 0], "(1, 2)": [True, True, True, 1]}
    assert gone[1]["(1,)"] == [True, False, False, 0]


def test_a_request_copies_the_state_it_goes_on_from_and_leaves_its_own_to_the_tree() -> None:
    _, begun, finished = run(
        Insert((1,)), BeginRequest(0, (1, 2), 2), FinishRequest(0), component_slots=4
    )
    assert begun[0] == {"device_length": 1, "loaded_length": 0}
    assert begun[3] == 1  # the tree has two, the request one
    assert finished[3] == 2  # what it would leave is there already
    assert finished[1] == {"(1,)": [True, True, False, 0], "(1, 2)": [True, True, False, 0]}


def test_a_state_that_only_the_host_has_is_loaded_for_the_request_too() -> None:
    *_, begun = run(Insert((1,)), EvictDevice(1), BeginRequest(0, (1, 2), 2), component_slots=4)
    assert begun[0] == {"device_length": 0, "loaded_length": 1}
    assert begun[1]["(1,)"] == [True, True, True, 1]  # until the load is acknowledged
    assert begun[3] == 1


def test_what_states_cannot_be_run_with_is_refused_in_one_line() -> None:
    for options, words in (
        (f"--release {RELEASE} --page-size 4", "has pages of one token, not page size 4"),
        ("--release 0.5.18", "unknown component 'mamba'; sglang 0.5.18 has full (or all)"),
    ):
        child = command("run", *options.split(), "--component", "mamba", "--examples", "1")
        assert child.code == 2
        assert child.err.strip().splitlines()[-1].endswith(words)
    with pytest.raises(ValueError, match="io_backend has to be direct, and is kernel"):
        Configuration(component="mamba", io_backend="kernel")


@pytest.mark.parametrize("core", ["python", pytest.param("rust", marks=on_its_python)])
def test_nothing_is_found_in_the_states_of_the_release(core: str, tmp_path: Path) -> None:
    cache = ("--release", RELEASE, "--cache", "unified", "--core", core, "--component", "mamba")
    amount = ("--write-policy", "write_back,write_through", "--examples", "20", "--workers", "1")
    child = command("run", *cache, *amount, folder=tmp_path)
    assert child.code == 0, child.out + child.err
