from __future__ import annotations

import json
import re
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from hicache_model.configuration import Configuration
from hicache_model.operations import EvictDevice, Insert, Match, Operation, Unlock
from hicache_verify import trace
from hicache_verify.cli.options import target_of_trace
from hicache_verify.trace import Trace
from tests.processes import command, end, python, start, wait_until
from tests.verify.snapshots import pinned

HOSTILE = "tests.verify.hostile:"


def write_trace(path: Path, *performed: Operation, target: str = "mimic") -> str:
    trace.write(path, Trace(Configuration(), target, "0.5.18", performed))
    return str(path)


# -- run -------------------------------------------------------------------------------------------


def test_run_exits_0_where_both_sides_agree(cli: Any) -> None:
    ran = cli("run", "--target", HOSTILE + "agrees", "--examples", "8")
    assert (ran.code, ran.err) == (0, "")
    assert "no divergence" in ran.out
    assert [path.name for path in Path("hicache-findings").iterdir()] == ["campaign-1.ndjson"]


def test_run_exits_1_and_writes_what_it_found(cli: Any) -> None:
    ran = cli("run", "--target", HOSTILE + "corrupts", "--examples", "8")
    assert ran.code == 1
    assert "✗ conservation" in ran.out
    path = Path("hicache-findings/conservation-1.jsonl")
    assert trace.read(path).operations == (EvictDevice(2),)
    assert f"hicache-verify replay {path} --target {HOSTILE}corrupts" in ran.out
    assert cli("replay", str(path), "--target", HOSTILE + "corrupts").code == 1


def test_run_json_is_one_object_with_the_finding(cli: Any) -> None:
    ran = cli("run", "--target", HOSTILE + "corrupts", "--examples", "8", "--json", "--seed", "3")
    assert ran.code == 1
    (found,) = ran.json["divergences"]
    assert (found["law"], found["kind"], found["operations"]) == ("conservation", "law", 1)
    assert Path(found["trace"]).exists()
    assert found["found_after"]["examples"] >= 1
    assert (ran.json["verdict"], ran.json["examples"], ran.json["seed"]) == ("diverged", 8, 3)


def test_run_gives_the_same_findings_under_any_hash_seed(tmp_path: Path) -> None:
    target = ("--target", HOSTILE + "corrupts")
    asked = ("run", *target, "--examples", "12", "--workers", "1", "--json")
    results = []
    for seed in ("1", "2"):
        done = command(*asked, "--out", str(tmp_path / seed), PYTHONHASHSEED=seed)
        report = json.loads(done.out.replace(str(tmp_path / seed), "OUT"))
        results.append(_without_times(report))
        results[-1]["file"] = (tmp_path / seed / "conservation-1.jsonl").read_text()
    assert results[0] == results[1]


def _without_times(report: Any) -> Any:
    if isinstance(report, dict):
        return {k: _without_times(v) for k, v in report.items() if k != "seconds"}
    return [_without_times(item) for item in report] if isinstance(report, list) else report


def test_what_a_target_prints_does_not_reach_standard_output(cli: Any) -> None:
    ran = cli("run", "--target", HOSTILE + "prints", "--examples", "4", "--json")
    assert ran.json["verdict"] == "agree"


def test_interrupted_it_exits_130_with_what_was_found(tmp_path: Path) -> None:
    asked = ("run", "--target", HOSTILE + "corrupts", "--json", "--out", str(tmp_path))
    started = start(*asked, "--budget", "60")
    wait_until(lambda: list(tmp_path.glob("*.jsonl")))
    time.sleep(0.3)
    started.send_signal(signal.SIGINT)
    ended = end(started, timeout=20)
    assert ended.code == 130
    assert ended.json["interrupted"] is True
    assert ended.json["divergences"][0]["law"] == "conservation"


def test_no_worker_outlives_a_killed_parent(tmp_path: Path) -> None:
    import psutil

    started = start("run", "--target", HOSTILE + "agrees", "--budget", "60", folder=tmp_path)
    parent = psutil.Process(started.pid)
    wait_until(parent.children)
    workers = parent.children()
    started.kill()
    started.communicate()
    _, alive = psutil.wait_procs(workers, timeout=10)
    assert not alive


# -- mistakes --------------------------------------------------------------------------------------

MISTAKES = {
    "unknown command": ("frob",),
    "unknown option": ("run", "--bogus"),
    "unknown write policy": ("run", "--write-policy", "write_never"),
    "unknown eviction policy": ("run", "--eviction-policy", "lru,random"),
    "page size that is no number": ("run", "--page-size", "1,x"),
    "page size of nothing": ("run", "--page-size", "0"),
    "empty place": ("run", "--write-policy", "write_back,,write_through"),
    "no budget": ("run", "--budget", "0"),
    "no examples": ("run", "--examples", "0"),
    "no workers": ("run", "--workers", "0"),
    "two origins": ("run", "--release", "0.5.18", "--source", "."),
    "unknown target": ("run", "--target", "vllm"),
    "target that cannot be imported": ("run", "--target", "nowhere:nothing"),
    "no such release": ("run", "--release", "latest"),
    "no source tree": ("run", "--source", "."),
    "resume of nothing": ("run", "--resume", "gone"),
    "resume where none was run": ("run", "--resume", "."),
    "unwritable out": ("run", "--out", "/dev/null/x"),
    "no such trace": ("replay", "gone.jsonl"),
    "no trace at all": ("replay",),
    "nothing to reproduce": ("reproduce",),
}


def test_every_mistake_is_one_line_and_exit_code_2(cli: Any) -> None:
    said = []
    for name, arguments in MISTAKES.items():
        ran = cli(*arguments)
        assert (ran.code, ran.out) == (2, ""), name
        assert ran.err.count("\n") == 1, name
        said.append(f"{name}\n    $ hicache-verify {' '.join(arguments)}\n    {ran.err}")
    text = "".join(said)
    assert text == pinned("mistakes.txt", text)


@pytest.mark.parametrize(
    "arguments",
    [
        ("run", "--bogus"),
        ("run", "--release", "latest"),
        ("replay", "gone.jsonl"),
        ("minimize", "x"),
    ],
)
def test_with_json_a_mistake_is_an_object(cli: Any, arguments: tuple[str, ...]) -> None:
    ran = cli(*arguments, "--json")
    assert (ran.code, ran.err) == (2, "")
    assert ran.json["verdict"] == "error"
    assert ran.json["message"]


def test_an_internal_error_shows_no_traceback(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from hicache_verify.campaigns.campaign import Campaign

    monkeypatch.setattr(Campaign, "run", lambda self: 1 / 0)
    ran = cli("run", "--target", HOSTILE + "agrees")
    assert ran.code == 2
    assert ran.err.startswith("hicache-verify: internal error: ZeroDivisionError")
    assert ran.err.count("\n") == 1


# -- replay and minimize ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "kind", "code"),
    [
        ("agrees", None, 0),
        ("raises", "crash", 1),
        ("corrupts", "law", 1),
        ("exits", "death", 1),
        ("is_killed", "death", 1),
    ],
)
def test_replay_tells_what_a_trace_does(
    cli: Any, tmp_path: Path, target: str, kind: str | None, code: int
) -> None:
    path = write_trace(tmp_path / "t.jsonl", Insert((1, 2)), EvictDevice(2), Match((1,)))
    ran = cli("replay", path, "--target", HOSTILE + target, "--json")
    assert (ran.code, ran.json.get("kind")) == (code, kind)


def test_replay_shows_each_step(cli: Any, tmp_path: Path) -> None:
    path = write_trace(tmp_path / "t.jsonl", Insert((1, 2)), EvictDevice(2), Match((1,)))
    ran = cli("replay", path, "--target", HOSTILE + "exits")
    assert ran.out == pinned("replay-death.txt", ran.out)


@pytest.mark.parametrize(
    ("recorded", "asked", "cache", "core"),
    [
        ("sglang", {"release": "0.5.20"}, "hiradix", None),
        ("sglang", {"release": "0.5.20", "cache": "unified"}, "unified", None),
        ("sglang-unified-rust", {"release": "0.5.20"}, None, "rust"),
        ("sglang-unified-rust", {"release": "0.5.20", "core": "python"}, None, "python"),
        ("sglang-unified", {"source": "a/tree"}, None, "python"),
    ],
)
def test_a_trace_stays_with_the_cache_that_it_was_recorded_on(
    recorded: str, asked: dict[str, str], cache: str | None, core: str | None
) -> None:
    """Which cache a release's servers use plays no part in it."""
    spec = target_of_trace(Trace(Configuration(), recorded, "0.5.19", (Insert((1,)),)), asked)
    assert (spec.cache, spec.tree_core if core else None) == (cache, core)
    assert spec.is_unified == (cache != "hiradix")


def test_an_illegal_operation_is_named_with_its_line(cli: Any, tmp_path: Path) -> None:
    path = write_trace(tmp_path / "t.jsonl", Insert((1,)), Unlock((1,)))
    ran = cli("replay", path, "--target", HOSTILE + "agrees")
    assert ran.code == 2
    assert re.search(r"t\.jsonl: line 3: the operation is illegal in its state: no lock", ran.err)


def test_bad_json_is_named_with_its_line(cli: Any, tmp_path: Path) -> None:
    path = write_trace(tmp_path / "t.jsonl", Insert((1,)), Insert((2,)))
    lines = Path(path).read_text().splitlines()
    Path(path).write_text("\n".join([*lines[:2], "{", ""]))
    ran = cli("replay", path, "--target", HOSTILE + "agrees")
    assert (ran.code, ran.out) == (2, "")
    assert "t.jsonl: line 3: not JSON" in ran.err


def test_a_trace_of_an_unknown_target_asks_for_one(cli: Any, tmp_path: Path) -> None:
    ran = cli("replay", write_trace(tmp_path / "t.jsonl", Insert((1,))))
    assert ran.code == 2
    assert "say with --target which" in ran.err


@pytest.mark.parametrize("target", ["corrupts", "exits"])
def test_minimize_writes_the_shortest_trace(cli: Any, tmp_path: Path, target: str) -> None:
    inserts = [Insert((n, n + 1)) for n in range(3)]
    path = write_trace(tmp_path / "t.jsonl", *inserts, Match((1,)), EvictDevice(4))
    ran = cli("minimize", path, "--target", HOSTILE + target, "--json")
    assert ran.code == 0
    assert (ran.json["operations_before"], ran.json["operations"]) == (5, 1)
    assert trace.read(tmp_path / "t.min.jsonl").operations == (EvictDevice(2),)


def test_minimize_of_a_trace_that_agrees_says_so(cli: Any, tmp_path: Path) -> None:
    path = write_trace(tmp_path / "t.jsonl", Insert((1,)))
    ran = cli("minimize", path, "--target", HOSTILE + "agrees")
    assert ran.code == 2
    assert "nothing to minimize" in ran.err


# -- the others ------------------------------------------------------------------------------------


def test_help_is_fast_and_imports_nothing_heavy() -> None:
    code = (
        "import sys; from hicache_verify.cli.main import commands; "
        "heavy = {'torch', 'hypothesis', 'rich', 'numpy', 'sglang'} & set(sys.modules); "
        "assert not heavy, heavy"
    )
    assert python("-c", code) == (0, "", "")


@pytest.mark.parametrize(
    "command", ["run", "replay", "minimize", "reproduce", "releases", "doctor", "docs"]
)
def test_every_command_explains_itself(cli: Any, command: str) -> None:
    ran = cli(command, "--help")
    assert ran.code == 0
    assert ran.out.startswith(f"Usage: hicache-verify {command}")


def test_releases_lists_what_is_known(cli: Any) -> None:
    ran = cli("releases", "--json")
    by_name = {row["release"]: row for row in ran.json["releases"]}
    assert by_name["0.5.18"]["serves"] == "HiRadixCache"
    assert by_name["0.5.20"]["serves"] == "UnifiedRadixCache"
    assert "slru" not in by_name["0.5.9"]["eviction_policies"]
    assert "tlru" not in by_name["0.5.20"]["eviction_policies"]
    assert "tlru" in by_name["0.5.21"]["eviction_policies"]
    assert "0.5.10.post1" in cli("releases").out


def test_doctor_opens_a_target_that_is_named(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from hicache_impl.sglang import fetch

    monkeypatch.setattr(fetch, "available_releases", lambda: ("0.5.18",))
    well = cli("doctor", "--target", HOSTILE + "agrees", "--json")
    assert well.code == 0
    assert {check["name"]: check["state"] for check in well.json["checks"]}["target"] == "ok"
    ill = cli("doctor", "--target", HOSTILE + "cannot_open")
    assert ill.code == 2
    assert "there is no such mimic" in ill.out
