"""UnifiedRadixCache with Mamba states beside full attention: it runs, and agrees."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hicache_model.configuration import Configuration
from hicache_model.operations import (
    BeginRequest,
    DecodeRequest,
    EvictDevice,
    EvictHost,
    ExtendRequest,
    FinishRequest,
    Insert,
    LoadBack,
    Lock,
    Match,
)
from hicache_verify.catalogue.mamba import STATE_AHEAD
from tests.processes import command, python
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
    child = command("run", "--release", "0.5.18", "--component", "mamba", "--examples", "1")
    assert child.code == 2
    words = "unknown component 'mamba'; sglang 0.5.18 has full (or all)"
    assert child.err.strip().splitlines()[-1].endswith(words)


@pytest.mark.parametrize(
    ("sizes", "words"),
    [
        ({"io_backend": "kernel"}, "io_backend has to be direct, and is kernel"),
        ({"page_size": 4}, "without state_buffers has pages of one token, not 4"),
        ({"page_size": 4, "state_buffers": 1, "state_chunk": 6}, "a multiple of the other"),
        ({"page_size": 4, "state_buffers": 1}, "track_interval is 1, not a multiple"),
    ],
)
def test_a_configuration_that_no_server_with_states_can_have_is_refused(
    sizes: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        Configuration(component="mamba", **sizes)


BUFFERED: dict[str, Any] = {
    "page_size": 2,
    "device_slots": 12,
    "host_slots": 24,
    "state_chunk": 2,
    "track_interval": 4,
    "write_policy": "write_through",
}


@pytest.mark.parametrize("buffers", [1, 2])
def test_a_prompt_gives_the_tree_its_last_state_that_a_page_ends_with(buffers: int) -> None:
    begun, extended, decoded, finished = run(
        BeginRequest(0, (1, 2, 3, 4, 5, 6, 7), 4),
        ExtendRequest(0, 3),
        DecodeRequest(0, 8),
        FinishRequest(0),
        state_buffers=buffers,
        **BUFFERED,
    )
    assert begun[1] == {}  # what a chunk computed goes to the tree with the next
    assert extended[1].keys() == {"(1, 2, 3, 4)", "(1, 2, 3, 4, 5, 6)"}
    assert decoded[3] == 8 - (1 + buffers) - 2
    assert finished[1].keys() == extended[1].keys() | {"(1, 2, 3, 4, 5, 6, 7, 8)"}
    assert finished[3] == 8 - 3


def test_a_request_that_ends_between_track_intervals_leaves_no_state() -> None:
    *_, finished = run(
        BeginRequest(0, (1, 2, 3, 4), 4),
        DecodeRequest(0, 5),
        DecodeRequest(0, 6),
        FinishRequest(0),
        state_buffers=2,
        **BUFFERED,
    )
    assert finished[1].keys() == {"(1, 2, 3, 4)"}
    assert finished[3] == 8 - 1


def test_a_chunk_without_a_state_on_the_grid_gives_the_tree_nothing() -> None:
    begun, extended = run(
        BeginRequest(0, (1, 2, 3, 4), 2),
        ExtendRequest(0, 2),
        state_buffers=1,
        **{**BUFFERED, "state_chunk": 4},
    )
    assert begun[1] == extended[1] == {}


def test_a_state_is_kept_where_the_tree_has_full_kv_and_none() -> None:
    """Two prompts part after [1, 2]: the second one leaves the state there, not its last."""
    *_, branched = run(
        BeginRequest(0, (1, 2, 3, 4, 5), 5),
        BeginRequest(1, (1, 2, 6, 7, 8), 5),
        state_buffers=1,
        **BUFFERED,
    )
    assert branched[1] == {
        "(1, 2)": [True, True, False, 1],  # its full KV is being written, and covers no state
        "(1, 2, 3, 4)": [True, True, True, 2],
    }


@pytest.mark.parametrize("core", ["python", pytest.param("rust", marks=on_its_python)])
def test_nothing_is_found_in_the_states_of_the_release(core: str, tmp_path: Path) -> None:
    cache = ("--release", RELEASE, "--cache", "unified", "--core", core, "--component", "mamba")
    amount = ("--write-policy", "write_back,write_through", "--examples", "20", "--workers", "1")
    child = command("run", *cache, *amount, folder=tmp_path)
    assert child.code == 0, child.out + child.err


HUNT = """
import json, sys
from hicache_verify.campaigns.cells import Cell
from hicache_verify.catalogue.mamba import STATE_AHEAD
from tests.planted.search import hunt, released
patches = (STATE_AHEAD.patch,) if sys.argv[1:] else ()
cell = Cell("write_through", 2, "lru", "mamba")
print(json.dumps(hunt(released("0.5.23", patches), cell, seed=0, limit=15_000)))
"""


def test_with_longer_pages_states_ahead_of_their_nodes_are_found_and_nothing_else() -> None:
    found = python("-c", HUNT).json
    assert found["law"] in STATE_AHEAD.laws
    assert found["trace"][-1].startswith("extend request")
    assert not python("-c", HUNT, "patched").json["found"]
