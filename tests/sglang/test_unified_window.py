"""UnifiedRadixCache with sliding window attention beside full attention: it runs, and agrees."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hicache_model.operations import (
    BeginRequest,
    EvictDevice,
    EvictHost,
    Insert,
    LoadBack,
    Lock,
    Match,
    RetractRequest,
    codec,
)
from tests.processes import command, python
from tests.sglang.test_unified_rust import on_its_python

RELEASE, OLDEST = "0.5.23", "0.5.21"

CHILD = """
import json, sys
import attrs
from hicache_model.configuration import Configuration
from hicache_model.operations import codec
from hicache_verify.lockstep import Lockstep
from hicache_verify.targets import TargetSpec, open_factory

release, sizes, script = json.loads(sys.argv[1])
lockstep = Lockstep(
    open_factory(TargetSpec(release=release, cache="unified", core="python")),
    Configuration(**{"component": "swa", **sizes}),
)
for data in script:
    found = lockstep.step(codec.decode(data))
    assert found is None, found.message
    parts = {
        str(path.tokens): [node.device is not None, node.component.device is not None,
                           node.component.host is not None, node.component.lock_ref]
        for path, node in lockstep.actual.nodes.items()
    }
    state = lockstep.actual.component
    lru = [str(path.tokens) for path in state.lru]
    print(json.dumps([attrs.asdict(lockstep.outcome), parts, lru, len(state.device_free)]))
"""


def run(*script: Any, release: str = RELEASE, **sizes: Any) -> list[Any]:
    """In lockstep with the model; of each step the outcome, the nodes' parts, the LRU, the room."""
    given = json.dumps([release, sizes, [codec.encode(operation) for operation in script]])
    child = python("-c", CHILD, given)
    assert child.code == 0, child.err
    return [json.loads(line) for line in child.out.splitlines()]


def test_a_leaf_is_cut_to_a_window_and_a_tombstone_ends_a_lookup() -> None:
    inserted, evicted, shorter, longer = run(
        Insert((1, 2, 3, 4)),
        EvictDevice(1, "swa"),
        Match((1, 2, 3)),
        Match((1, 2, 3, 4)),
        window=2,
        write_policy="write_through_selective",
    )
    assert inserted[1:3] == [
        {"(1, 2)": [True, True, False, 0], "(1, 2, 3, 4)": [True, True, False, 0]},
        ["(1, 2)", "(1, 2, 3, 4)"],
    ]
    assert evicted[0] == {"tokens": 0, "component_tokens": 2}
    assert evicted[1]["(1, 2)"] == [True, False, False, 0]
    assert shorter[0]["device_length"] == 0  # its last window begins in the tombstone
    assert longer[0]["device_length"] == 4


def test_a_lock_holds_a_window_and_an_insert_fills_a_tombstone_below_it() -> None:
    *_, locked, evicted, filled = run(
        Insert((1, 2, 3)), Lock((1, 2, 3)), EvictDevice(3, "swa"), Insert((1, 2, 3)), window=1
    )
    assert locked[1] == {
        "(1, 2)": [True, True, False, 0],
        "(1, 2, 3)": [True, True, False, 1],
    }
    assert evicted[0]["component_tokens"] == 2
    assert filled[1]["(1, 2)"] == [True, True, True, 0]


def test_only_a_window_is_loaded_back_and_the_host_gives_up_what_is_oldest() -> None:
    *_, loaded, _, gone = run(
        Insert((1, 2, 3, 4)),
        EvictDevice(4),
        LoadBack((1, 2, 3, 4)),
        EvictDevice(4),
        EvictHost(1, "swa"),
        window=2,
    )
    assert loaded[0] == {"tokens": 4}
    assert loaded[1] == {
        "(1, 2)": [True, False, True, 0],
        "(1, 2, 3, 4)": [True, True, True, 1],
    }
    assert gone[1]["(1, 2)"] == [True, False, False, 0]


@pytest.mark.parametrize(("release", "ancestors"), [(OLDEST, True), ("0.5.22", False)])
def test_ancestors_are_written_with_a_window_in_the_oldest_release_alone(
    release: str, ancestors: bool
) -> None:
    *_, filled = run(
        BeginRequest(0, (1, 2, 3, 4), 4),
        RetractRequest(0),
        EvictDevice(1),
        Insert((1, 2, 3)),
        release=release,
        window=2,
    )
    on_host = {path: part[2] for path, part in filled[1].items()}
    assert on_host == {"(1,)": ancestors, "(1, 2)": True, "(1, 2, 3)": True, "(1, 2, 3, 4)": True}


def test_a_node_whose_copy_made_room_for_its_ancestors_is_written_again() -> None:
    *_, filled = run(
        BeginRequest(0, (1, 2, 3, 4), 4),
        RetractRequest(0),
        Match((1,)),
        EvictDevice(3),
        Insert((1, 2)),
        release=OLDEST,
        device_slots=4,
        host_slots=2,
        component_slots=4,
        window=1,
    )
    assert {path: part[2] for path, part in filled[1].items()} == {"(1,)": True, "(1, 2)": True}


def test_a_release_that_cannot_be_run_with_it_says_so_in_one_line() -> None:
    child = command("run", "--release", "0.5.18", "--component", "swa", "--examples", "1")
    assert child.code == 2
    assert child.err.strip().splitlines()[-1] == (
        "hicache-verify: unknown component 'swa'; sglang 0.5.18 has full (or all)"
    )


@pytest.mark.parametrize("core", ["python", pytest.param("rust", marks=on_its_python)])
@pytest.mark.parametrize(
    ("release", "policy"),
    [(RELEASE, "write_back"), (RELEASE, "write_through"), (OLDEST, "write_through")],
)
def test_nothing_is_found_in_the_release(
    release: str, policy: str, core: str, tmp_path: Path
) -> None:
    cache = ("--release", release, "--cache", "unified", "--core", core, "--component", "swa")
    cells = ("--write-policy", policy, "--page-size", "1,4")
    amount = ("--examples", "20", "--workers", "1")
    child = command("run", *cache, *cells, *amount, folder=tmp_path)
    assert child.code == 0, child.out + child.err
