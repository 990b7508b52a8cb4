"""``--device``: where our own cache keeps its device tier."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hicache_model.configuration import Configuration
from hicache_model.operations import Insert
from hicache_verify import trace
from hicache_verify.targets import BadTarget, TargetSpec, open_factory
from hicache_verify.trace import Trace
from tests.native.gpu import NO_GPU, has_gpu


@pytest.mark.parametrize("name", ["gpu9", "meta", "", "cuda:x"])
def test_a_device_that_torch_does_not_know_ends_the_run_with_one_line(cli: Any, name: str) -> None:
    code, _, said = cli("run", "--target", "native", "--device", name, "--examples", "1")
    assert code == 2
    assert said.count("\n") == 1
    assert "use cpu or cuda" in said or "use one of these" in said


@pytest.mark.skipif(has_gpu(), reason="there is a GPU here")
def test_a_gpu_that_is_not_there_ends_the_run_with_one_line(cli: Any) -> None:
    code, _, said = cli("run", "--target", "native", "--device", "cuda", "--examples", "1")
    assert code == 2
    assert said == "hicache-verify: device 'cuda' is not here: torch sees no GPU; use cpu\n"


def test_only_our_own_cache_takes_a_device() -> None:
    with pytest.raises(BadTarget, match="takes no --device"):
        TargetSpec(device="cpu")
    with pytest.raises(BadTarget, match="takes no --release"):
        TargetSpec("native", release="0.5.18", device="cpu")


def test_a_target_on_a_device_names_itself_again() -> None:
    spec = TargetSpec("native", device="cpu")
    assert spec.options == "--target native --device cpu"
    assert " on cpu;" in open_factory(spec).description.origin


def test_a_trace_of_our_own_cache_is_replayed_on_the_device_that_is_named(
    cli: Any, tmp_path: Path
) -> None:
    path = tmp_path / "one.jsonl"
    trace.write(path, Trace(Configuration(), "native", "0.5.18", (Insert((1,)),)))
    assert cli("replay", str(path), "--device", "cpu").code == 0
    refused = cli("replay", str(path), "--device", "gpu9")
    assert refused.code == 2
    assert "gpu9" in refused.err


@pytest.mark.gpu
@pytest.mark.skipif(not has_gpu(), reason=NO_GPU)
def test_a_gpu_with_too_high_a_number_is_refused(cli: Any) -> None:
    code, _, said = cli("run", "--target", "native", "--device", "cuda:99", "--examples", "1")
    assert code == 2
    assert "the last is cuda:" in said
