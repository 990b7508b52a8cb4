"""Both real caches with keys of pairs, as servers with EAGLE have them: they run, and agree."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hicache_model.operations import (
    BeginRequest,
    FinishRequest,
    Insert,
    Lock,
    Match,
    Operation,
    Unlock,
    codec,
)
from tests.processes import command, python
from tests.sglang.test_unified_rust import on_its_python

HIRADIX = ("0.5.9", "0.5.10.post1", "0.5.11", "0.5.18")
"""Two in which a key lists its pairs, and two in which it has the tokens."""
OLDEST, NEWEST = "0.5.12", "0.5.23"

CHILD = """
import json, sys
import attrs
from hicache_model.configuration import Configuration
from hicache_model.operations import codec
from hicache_verify.lockstep import Lockstep
from hicache_verify.targets import TargetSpec, open_factory

spec, settings, script = json.loads(sys.argv[1])
factory, configuration = open_factory(TargetSpec(**spec)), Configuration(**settings)
lockstep = Lockstep(factory, configuration, exact=True)
for data in script:
    operation = codec.decode(data)
    assert lockstep.illegal(operation) is None
    found = lockstep.step(operation)
    assert found is None, found.message
    nodes = {str(path): node.length for path, node in lockstep.actual.nodes.items()}
    at = {str(p): n and n.length for p, n in
          lockstep.target.observe_at(lockstep.model.tree.by_path).nodes.items()}
    assert at == nodes, at
    print(json.dumps([attrs.asdict(lockstep.outcome), nodes]))
"""


def run(spec: dict[str, Any], *script: Operation, **settings: Any) -> list[Any]:
    """In lockstep with the model, each node looked for by its path, too: outcomes and nodes."""
    operations = [codec.encode(operation) for operation in script]
    child = python("-c", CHILD, json.dumps([spec, {"bigram": True, **settings}, operations]))
    assert child.code == 0, child.err
    return [json.loads(line) for line in child.out.splitlines()]


def unified(release: str, core: str = "python") -> dict[str, str]:
    return {"release": release, "cache": "unified", "core": core}


SPECS = [
    *(pytest.param({"release": v, "cache": "hiradix"}, id=f"hiradix-{v}") for v in HIRADIX),
    pytest.param(unified(OLDEST), id=f"unified-{OLDEST}"),
    pytest.param(unified(NEWEST), id=f"unified-{NEWEST}"),
    pytest.param(unified(NEWEST, "rust"), id=f"unified-rust-{NEWEST}", marks=on_its_python),
]


@pytest.mark.parametrize("spec", SPECS)
def test_nodes_are_named_by_pairs_and_a_page_that_lacks_one_stays_its_owners(
    spec: dict[str, Any],
) -> None:
    inserted, _, _, parted, shorter, begun, ended, again, one = run(
        spec,
        Insert((1, 2, 3, 4, 5)),
        Lock((1, 2, 3, 4, 5)),
        Unlock((1, 2, 3, 4, 5)),
        Insert((1, 2, 3, 4, 6)),
        Match((1, 2, 3, 4)),
        BeginRequest(0, (1, 2, 3, 4), 4, "a"),
        FinishRequest(0),
        BeginRequest(0, (1, 2, 3, 4, 5, 6), 6, "a"),
        BeginRequest(1, (1,), 1, "a"),
        page_size=2,
        device_slots=20,
        host_slots=40,
    )
    assert inserted[1] == {"[1, 2, 3, 4, 5]": 4}
    nodes = {"[1, 2, 3]": 2, "[1, 2, 3, 4, 5]": 2, "[1, 2, 3, 4, 6]": 2}
    assert parted[1] == nodes
    assert shorter[0]["device_length"] == 2
    assert begun[1] == ended[1] == {**nodes, "a:[1, 2, 3]": 2}
    assert again[0]["device_length"] == 2
    assert one[0]["device_length"] == 0


@pytest.mark.parametrize(
    "cache",
    [
        pytest.param(("0.5.18", "--cache", "hiradix"), id="hiradix"),
        pytest.param((NEWEST, "--core", "python"), id="python"),
        pytest.param((NEWEST, "--core", "both"), id="both", marks=on_its_python),
        pytest.param((NEWEST, "--core", "python", "--component", "swa"), id="swa"),
    ],
)
def test_nothing_is_found_in_a_release(cache: tuple[str, ...], tmp_path: Path) -> None:
    cells = ("--write-policy", "all", "--page-size", "1,4", "--bigram")
    amount = ("--examples", "12", "--workers", "1")
    child = command("run", "--release", *cache, *cells, *amount, folder=tmp_path)
    assert child.code == 0, child.out + child.err
    assert "page size 4, lru" in child.out
    assert "keys of pairs" in child.out


def test_a_known_issue_is_met_with_pairs_too(tmp_path: Path) -> None:
    where = ("--release", "0.5.10.post1", "--bigram", "--first", "--workers", "1", "--json")
    child = command("run", *where, "--examples", "200", folder=tmp_path)
    assert child.code == 1, child.err
    assert [found["resembles"] for found in child.json["divergences"]] == ["#19212"]


def test_mamba_with_pairs_is_refused_in_one_line(tmp_path: Path) -> None:
    asked = ("--release", NEWEST, "--component", "mamba", "--bigram")
    for name in ("run", "explore"):
        child = command(name, *asked, folder=tmp_path)
        assert child.code == 2
        assert (
            child.err.strip()
            .splitlines()[-1]
            .endswith("with --component mamba keys are tokens: leave out --bigram")
        )


def test_a_target_without_keys_of_pairs_says_so_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "import attrs\n"
        "from hicache_impl.native.target import NativeFactory\n"
        "def make():\n"
        "    factory = NativeFactory()\n"
        "    known = attrs.evolve(factory.description, bigram=False)\n"
        "    object.__setattr__(factory, 'description', known)\n"
        "    return factory\n",
        encoding="utf-8",
    )
    child = command(
        "run", "--target", "mine:make", "--bigram", folder=tmp_path, PYTHONPATH=str(tmp_path)
    )
    assert child.code == 2
    assert child.err.strip().splitlines()[-1] == (
        "hicache-verify: native 0.5.18 has no keys of pairs (--bigram)"
    )
