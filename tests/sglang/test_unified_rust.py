"""The Rust tree core of UnifiedRadixCache: it answers and shows what the Python core does."""

from __future__ import annotations

import sys
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from hicache_impl.sglang.errors import WrongCore
from hicache_impl.sglang.releases import KNOWN_UNIFIED
from hicache_impl.sglang.unified import rust
from hicache_model.operations import (
    AbortRequest,
    BeginRequest,
    CompleteLoads,
    CompleteWrites,
    DecodeRequest,
    EvictDevice,
    EvictHost,
    ExtendRequest,
    FinishRequest,
    Insert,
    LoadBack,
    Lock,
    LockHost,
    Match,
    Operation,
    Reset,
    RetractRequest,
    StartLoads,
    StartWrites,
    Unlock,
    UnlockHost,
)
from tests.fetched import fetched
from tests.processes import command, python
from tests.sglang.test_hiradix_child import Step, pages, run, sizes

NEWEST = KNOWN_UNIFIED[-1]
RELEASES = [v for v in KNOWN_UNIFIED if v in rust.LOOKED_INTO]

on_its_python = pytest.mark.skipif(
    sys.version_info[:2] != (3, 11) or sys.platform != "linux",
    reason="the wheels' Rust extension is for CPython 3.11 on Linux",
)
each_release = pytest.mark.parametrize(
    "version",
    [v if v == NEWEST else pytest.param(v, marks=pytest.mark.slow) for v in RELEASES],
)


def scripts(page: int) -> dict[str, tuple[Operation, ...]]:
    def insert(*numbers: int, **more: Any) -> Insert:
        return Insert(pages(page, *numbers), **more)

    a, b, ab = pages(page, 1, 2), pages(page, 1, 3), pages(page, 1)
    written = StartWrites(), CompleteWrites(1)
    return {
        "split and evict": (
            *(insert(1, 2), insert(1, 3), insert(1, 2, namespace="n"), *written),
            *(Match(ab), EvictDevice(2 * page), EvictHost(page), Match(b)),
        ),
        "load back": (
            *(insert(1, 2), insert(1, 3), *written, EvictDevice(3 * page), LoadBack(a)),
            *(LoadBack(b, quota=0), StartLoads(), CompleteLoads(1), Match(a)),
        ),
        "locks and pins": (
            *(insert(1, 2), insert(1, 3), *written, Lock(a), LockHost(b)),
            *(EvictDevice(3 * page), EvictHost(2 * page), Unlock(a), EvictDevice(page)),
            *(UnlockHost(b), EvictHost(page)),
        ),
        "requests": (
            *(insert(1, 2), *written, BeginRequest(1, pages(page, 1, 2, 3), chunk=page)),
            *(ExtendRequest(1, 2 * page), DecodeRequest(1, 5), FinishRequest(1)),
            *(BeginRequest(2, pages(page, 1, 4), chunk=page), RetractRequest(2)),
            *(BeginRequest(3, pages(page, 1, 5), chunk=page), AbortRequest(3), Reset()),
        ),
    }


def shown(step: Step) -> Any:
    """What both cores show of a step."""
    hidden = ("lock=", "pin=", "hits=", "priority=", "D", "H")
    nodes = {
        path: [word for word in text.split() if not word.startswith(hidden)]
        for path, text in step.nodes.items()
    }
    totals = ("evictable", "protected", "device free", "host free", "transfers", "requests")
    slots = "device slots", "host slots", "locks", "strays"
    return step.outcome, nodes, [step[name] for name in (*totals, *slots)]


@on_its_python
@each_release
@pytest.mark.parametrize("page", [1, 4])
@pytest.mark.parametrize("policy", ["write_back", "write_through", "write_through_selective"])
@pytest.mark.parametrize("name", list(scripts(1)))
def test_it_does_and_shows_what_the_python_core_does(
    version: str, page: int, policy: str, name: str
) -> None:
    script = scripts(page)[name]
    steps = [
        run(version, sizes(page, write_policy=policy), *script, cache=cache)
        for cache in ("unified", "unified-rust")
    ]
    for operation, one, other in zip(script, *steps, strict=True):
        assert shown(one) == shown(other), operation


@on_its_python
@each_release
def test_it_agrees_with_the_model_and_the_report_says_what_was_not_compared(
    version: str, tmp_path: Path
) -> None:
    fetched(version)
    done = command(
        *("run", "--cache", "unified", "--core", "rust", "--release", version),
        *("--write-policy", "all", "--page-size", "1,4", "--eviction-policy", "lru,priority"),
        *("--examples", "8", "--source-of-operations", "random", "--workers", "1"),
        folder=tmp_path,
    )
    assert done.code == 0, done.out + done.err
    first, second, *_ = done.out.splitlines()
    assert first.startswith(f"sglang-unified-rust {version} from ")
    assert second.endswith("leaf sets, eviction order, component host copies")


FALSE_ALARM = """
import sys
from hicache_model.configuration import Configuration
from hicache_model.operations import *
from hicache_verify.lockstep import Lockstep
from hicache_verify.targets import TargetSpec, open_factory
factory = open_factory(TargetSpec(release=sys.argv[1], cache="unified", core=sys.argv[2]))
lockstep = Lockstep(factory, Configuration(write_policy="write_through"))
script = (
    *(Insert((1, 2, 3)), StartWrites(), CompleteWrites(1), EvictDevice(3), LoadBack((1, 9))),
    *(StartLoads(), CompleteLoads(1)),
)
for operation in script:
    assert lockstep.step(operation) is None, operation
    print(len(lockstep.target.own_check()))
"""


@on_its_python
@pytest.mark.parametrize("core", ["python", "rust"])
def test_the_false_alarm_of_its_own_check_is_tolerated(core: str) -> None:
    fetched(NEWEST)
    done = python("-c", FALSE_ALARM, NEWEST, core)
    assert done.out.split() == ["0", "0", "0", "0", "1", "1", "0"], done.err


# -- what is said where it cannot be loaded --------------------------------------------------------


def loaded(root: Path, version: str = NEWEST, lowest: int = 0, highest: int = 99) -> Any:
    """A release in ``root`` whose extension takes these torch versions."""
    build = SimpleNamespace(_MIN_SUPPORTED_TORCH=(lowest, 0), _MAX_SUPPORTED_TORCH=(highest, 0))
    located = SimpleNamespace(root=root)
    return SimpleNamespace(version=version, located=located, module=lambda name: build)


def with_extension(root: Path, name: str) -> Path:
    folder = root / "srt" / "mem_cache" / "rust_tree_core"
    folder.mkdir(parents=True)
    (folder / name).touch()
    return root


def refusal(release: Any) -> str:
    with pytest.raises(WrongCore, match="--core python runs the other core") as raised:
        rust.refuse_unloadable(release)
    (line,) = str(raised.value).splitlines()
    return line


def test_a_release_without_one_is_refused(tmp_path: Path) -> None:
    assert "0.5.19 is the first that has one" in refusal(loaded(tmp_path, "0.5.18"))
    assert "0.5.20 is the first that can run" in refusal(loaded(tmp_path, "0.5.19"))


def test_a_source_tree_without_an_extension_is_refused(tmp_path: Path) -> None:
    assert "there is no compiled extension in " in refusal(loaded(tmp_path))


def test_an_extension_for_another_python_is_refused(tmp_path: Path) -> None:
    root = with_extension(tmp_path, "mem_cache.cpython-300-riscv.so")
    assert "its extension is mem_cache.cpython-300-riscv.so, which this" in refusal(loaded(root))


def test_another_torch_is_refused(tmp_path: Path) -> None:
    root = with_extension(tmp_path, f"mem_cache{EXTENSION_SUFFIXES[0]}")
    said = refusal(loaded(root, lowest=98))
    assert f"it needs torch 98.0 to 99.0, and this is torch {torch.__version__}" in said


def test_the_command_line_says_so_and_exits_with_2(tmp_path: Path) -> None:
    options = ("--cache", "unified", "--core", "rust", "--release", "0.5.18")
    assert command("doctor", *options).code == 2
    done = command("run", *options, "--examples", "1", folder=tmp_path)
    assert (done.code, done.out) == (2, "")
    (line,) = done.err.splitlines()
    if "cannot be reached" not in line:
        assert "the Rust tree core of sglang 0.5.18 cannot be loaded" in line
