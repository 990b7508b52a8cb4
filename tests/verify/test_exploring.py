"""Explorations over worker processes that may hang or die, and the command that runs them."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import Any

import attrs
import psutil
import pytest

from hicache_model.operations import EvictDevice, Insert
from hicache_verify import events, trace
from hicache_verify.campaigns.cells import Cell, Selection
from hicache_verify.cannot_run import CannotRun
from hicache_verify.exploration.bound import EXTRAS, Bound
from hicache_verify.exploration.explore import Layer
from hicache_verify.exploration.exploring import Explorations, Explorer, Result
from hicache_verify.targets import TargetSpec
from hicache_verify.workers.executor import LocalExecutor
from tests.processes import end, start, wait_until
from tests.verify.test_campaign import LIMITS
from tests.verify.test_cli import HOSTILE

QUICK = ("--depth", "3", "--workers", "1")


class Explored:
    """An exploration of one of the hostile targets, and what it told."""

    def __init__(self, target: str, *, interrupt_at: type | None = None, **asked: Any) -> None:
        self.layers: list[tuple[Cell, Layer]] = []
        self.events: list[events.Event] = []
        self._interrupt_at = interrupt_at
        spec = TargetSpec(HOSTILE + target)
        whole = {"bound": Bound(3), "limits": LIMITS, **asked}
        explorations = Explorations(spec, **whole)
        self.result: Result = Explorer(
            explorations,
            LocalExecutor(LIMITS),
            emit=self._listen,
            hear=lambda cell, layer: self.layers.append((cell, layer)),
        ).run()

    def _listen(self, event: events.Event) -> None:
        self.events.append(event)
        if self._interrupt_at is not None and isinstance(event, self._interrupt_at):
            raise KeyboardInterrupt


def test_a_target_that_agrees_agrees_under_every_write_policy() -> None:
    ran = Explored("agrees", selection=Selection(("all",), (1, 4)))
    assert ran.result.verdict == events.AGREE
    assert [each.depth for each in ran.result.explorations] == [3] * 6
    assert [layer.depth for _, layer in ran.layers] == [1, 2, 3] * 6
    assert {each.configuration.device_slots for each in ran.result.explorations} == {2, 8}


@pytest.mark.usefixtures("nothing_left_running")
def test_several_workers_find_what_one_finds() -> None:
    one, three = (Explored("corrupts", workers=workers).result for workers in (1, 3))
    for alone, shared in zip(one.explorations, three.explorations, strict=True):
        assert alone.found == shared.found
        assert [_timeless(layer) for layer in alone.layers] == [
            _timeless(layer) for layer in shared.layers
        ]


def _timeless(layer: Layer) -> Layer:
    return attrs.evolve(layer, seconds=0.0)


@pytest.mark.parametrize(
    ("target", "kind", "exception"),
    [
        ("loops", "hang", "no answer"),
        ("exits", "death", "exit code 3"),
        ("is_killed", "death", "SIGKILL"),
        ("raises", "crash", "KeyError"),
        ("leaves", "crash", "SystemExit"),
        ("corrupts", "law", None),
    ],
)
def test_whatever_a_target_does_is_a_finding_with_the_shortest_trace(
    target: str, kind: str, exception: str | None
) -> None:
    ran = Explored(target, workers=2)
    (found,) = ran.result.findings
    assert (found.divergence.kind, found.divergence.exception) == (kind, exception)
    assert [type(op) for op in found.case.operations] == [Insert, EvictDevice]
    assert ran.result.verdict == events.DIVERGED
    (exploration,) = ran.result.explorations
    assert exploration.depth >= 1
    assert "the shortest divergence has 2 operations" in exploration.sentence()


@pytest.mark.usefixtures("nothing_left_running")
def test_interrupted_it_tells_what_was_shown() -> None:
    ran = Explored("agrees", interrupt_at=events.Progress, bound=Bound(50))
    assert ran.result.interrupted
    assert ran.result.verdict == events.ERROR
    assert not ran.result.explorations[0].complete


def test_time_is_shared_and_what_is_cut_short_is_said() -> None:
    ran = Explored("agrees", selection=Selection(("all",)), bound=Bound(50), seconds=6.0)
    assert [each.complete for each in ran.result.explorations] == [False] * 3
    assert all(each.depth for each in ran.result.explorations)
    assert ran.result.verdict == events.AGREE


def test_without_any_time_nothing_was_shown() -> None:
    ran = Explored("agrees", seconds=0.0)
    assert ran.result.verdict == events.ERROR
    assert ran.result.problem == "time was up before all single operations were tried"


@pytest.mark.usefixtures("nothing_left_running")
@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("refuses", "the host pool is too small"),
        ("cannot_open", "there is no such mimic"),
        ("dies_opening", "its process ended"),
    ],
)
def test_what_cannot_be_explored_is_said_in_one_line(target: str, said: str) -> None:
    with pytest.raises(CannotRun, match=said):
        Explored(target, workers=2)


# -- the command -----------------------------------------------------------------------------------


def test_it_prints_layers_and_a_sentence_to_quote(cli: Any) -> None:
    ran = cli("explore", "--target", HOSTILE + "agrees", *QUICK)
    assert (ran.code, ran.err) == (0, "")
    lines = ran.out.splitlines()
    assert lines[0] == "mimic 0.5.18 from tests/verify/mimic.py, 1 worker"
    assert lines[2] == "write_back, page size 1, lru"
    assert [line.split()[:2] for line in lines[3:6]] == [["depth", n] for n in "123"]
    told = " ".join(ran.out.split("\n\n")[2].split())
    assert told.startswith(
        "✓ no divergence within 3 operations over 2 token ids, device 2 and host 3 tokens, page "
        "size 1, write_back, lru (insert, match, evict, load back, start and complete transfers, "
        "reset) "
    )
    assert "states/s" in told


def test_json_has_the_counts_the_verdict_and_the_sentence(cli: Any) -> None:
    ran = cli("explore", "--target", HOSTILE + "agrees", "--write-policy", "all", *QUICK, "--json")
    assert (ran.code, ran.err) == (0, "")
    report = ran.json
    assert (report["verdict"], report["depth"], report["divergences"]) == ("agree", 3, [])
    assert (report["complete"], report["interrupted"], report["joined"]) == (True, False, True)
    parts = report["explorations"]
    assert [part["write_policy"] for part in parts] == [
        "write_back",
        "write_through",
        "write_through_selective",
    ]
    for name in ("states", "transitions"):
        assert report[name] == sum(part[name] for part in parts) > 30
    assert report["sentence"] == "; ".join(part["sentence"] for part in parts)


def test_with_all_widens_the_alphabet_by_everything(cli: Any) -> None:
    wide = ("--with", "all", "--depth", "1", "--workers", "1", "--json")
    ran = cli("explore", "--target", HOSTILE + "agrees", *wide)
    assert ran.json["alphabet"][-5:] == list(EXTRAS)
    assert ran.json["transitions"] > 20


def test_a_divergence_is_written_down_and_exits_1(cli: Any) -> None:
    target = ("--target", HOSTILE + "corrupts")
    ran = cli("explore", *target, *QUICK, "--json")
    assert (ran.code, ran.json["verdict"]) == (1, "diverged")
    (found,) = ran.json["divergences"]
    assert (found["law"], found["operations"], found["minimized"]) == ("conservation", 2, True)
    assert len(trace.read(Path(found["trace"])).operations) == 2
    assert cli("replay", found["trace"], *target).code == 1
    shown = cli("explore", *target, *QUICK)
    assert shown.code == 1
    assert f"replay hicache-findings/conservation-2.jsonl --target {HOSTILE}corrupts" in shown.out


def test_a_planted_bug_gives_the_shortest_trace(cli: Any) -> None:
    bug = ("--target", "native", "--bug", "host-leaf-asks-evicted")
    ran = cli("explore", *bug, "--depth", "4", "--workers", "1", "--json")
    assert ran.code == 1
    assert ran.json["divergences"][0]["law"] == "host-leaves"
    assert ran.json["divergences"][0]["operations"] == ran.json["depth"]


def test_ctrl_c_exits_130_with_what_was_shown(tmp_path: Path) -> None:
    asked = ("explore", "--target", HOSTILE + "agrees", "--depth", "50", "--json")
    started = start(*asked, "--out", str(tmp_path))
    wait_until(psutil.Process(started.pid).children)
    time.sleep(2)
    started.send_signal(signal.SIGINT)
    ended = end(started, timeout=30)
    assert ended.code == 130
    assert ended.json["interrupted"] is True
    assert ended.json["verdict"] == "error"


BAD = {
    ("--write-policy", "write_never"): "unknown write policy 'write_never'",
    ("--eviction-policy", "lru,random"): "unknown eviction policy 'random'",
    ("--page-size", "0"): "page size 0 is not in 1..1024",
    ("--page-size", "4", "--device-slots", "2"): "device_slots is 2, not a multiple of page_size 4",
    ("--device-slots", "0"): "device_slots",
    ("--device-slots", "1000000"): "more than 1,024 lists to insert in each state",
    ("--host-slots", "0"): "host_slots",
    ("--host-slots", "-1"): "host_slots",
    ("--depth", "0"): "not in the range",
    ("--tokens", "0"): "not in the range",
    ("--budget", "nan"): "--budget",
    ("--with", "lokcs"): "the alphabet has no 'lokcs'",
    ("--with", ""): "empty place",
    ("--workers", "0"): "not in the range",
    ("--out", "/dev/null/x"): "nothing can be written",
    ("--target", "native", "--bug", "no-such-bug"): "unknown bug 'no-such-bug'",
    ("--target", "native", "--device", "abacus"): "abacus",
}


@pytest.mark.parametrize("options", BAD)
def test_bad_input_is_one_line_and_exit_code_2(cli: Any, options: tuple[str, ...]) -> None:
    target = () if "--target" in options else ("--target", HOSTILE + "agrees")
    ran = cli("explore", *target, "--workers", "1", *options)
    assert (ran.code, ran.out) == (2, "")
    assert BAD[options] in ran.err
    assert ran.err.count("\n") == 1
    asked = cli("explore", *target, *options, "--json")
    assert (asked.code, asked.err, asked.json["verdict"]) == (2, "", "error")
