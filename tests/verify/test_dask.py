"""Campaigns on a Dask cluster: here two processes of this machine, which can be killed."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hicache_model.operations import EvictDevice
from hicache_verify import events
from hicache_verify.campaigns.campaign import Campaign
from hicache_verify.campaigns.plan import Plan
from hicache_verify.cannot_run import CannotRun, MachineLost
from hicache_verify.targets import TargetSpec
from hicache_verify.workers.asking import open_worker
from hicache_verify.workers.autopsy import LOST, Ending
from hicache_verify.workers.executor import Worker
from hicache_verify.workers.watch import Limits
from tests.processes import command

distributed = pytest.importorskip("distributed", reason="the extra dask is not installed")

from hicache_verify.workers.dask_executor import DaskExecutor, connected  # noqa: E402

LIMITS = Limits(operation=0.5, isolated_operation=0.2, isolated_minimizing=4)


@pytest.fixture
def cluster() -> Iterator[DaskExecutor]:
    """One whose machines may be killed."""
    with connected("local", 2, LIMITS) as executor:
        yield executor


@pytest.fixture(scope="module")
def lasting() -> Iterator[DaskExecutor]:
    """One that no test harms."""
    with connected("local", 2, LIMITS) as executor:
        yield executor


class Ran:
    """A campaign with two workers, and what it emitted; ``at`` may do something to the cluster."""

    def __init__(
        self,
        executor: DaskExecutor,
        target: str,
        at: Callable[[events.Event], None] = lambda event: None,
        **plan: Any,
    ) -> None:
        self.events: list[events.Event] = []
        options = {
            "examples": 12,
            "budget": None,
            "sources": ("random",),
            "limits": LIMITS,
            "workers": 2,
            "canary_every": None,
            **plan,
        }
        asked = Plan(TargetSpec(f"tests.verify.hostile:{target}"), **options)

        def listen(event: events.Event) -> None:
            self.events.append(event)
            at(event)

        self.result = Campaign(asked, executor, listen).run()

    def of(self, kind: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]


class Killer:
    """Kills a machine of the cluster at the first event of a kind, once."""

    def __init__(self, executor: DaskExecutor, moment: type) -> None:
        self._pids = list(executor.client.run(os.getpid).values())
        self._moment: type | None = moment

    def __call__(self, event: events.Event) -> None:
        if self._moment is not None and isinstance(event, self._moment):
            self._moment = None
            os.kill(self._pids[0], signal.SIGKILL)


@pytest.mark.parametrize(
    ("target", "kind"), [("corrupts", "law"), ("exits", "death"), ("loops", "hang")]
)
def test_what_a_target_does_is_found_and_minimized_there_too(
    lasting: DaskExecutor, target: str, kind: str
) -> None:
    ran = Ran(lasting, target, first=True, examples=1000)
    (found,) = ran.result.findings
    assert found.divergence.kind == kind
    assert found.case.operations == (EvictDevice(2),)
    assert found.minimized
    assert len(lasting.client.run(os.getpid)) == 2  # what is hostile reached no machine


@pytest.mark.parametrize("moment", [events.FindingSettled, events.FindingFound])
def test_a_machine_that_is_killed_loses_no_finding_and_another_one_goes_on(
    cluster: DaskExecutor, moment: type
) -> None:
    ran = Ran(cluster, "corrupts", Killer(cluster, moment), examples=300)
    (found,) = ran.result.findings
    assert found.divergence.law == "conservation"
    assert found.minimized
    assert ran.result.verdict == events.DIVERGED
    (lost,) = ran.of(events.WorkerLost)
    assert (lost.how, lost.finding) == ("its machine was lost", None)
    assert ran.result.examples > 150  # one lane alone has half of them


def test_machines_that_are_lost_again_and_again_end_a_campaign(cluster: DaskExecutor) -> None:
    limits = Limits(lost_machines=1)
    ran = Ran(cluster, "agrees", Killer(cluster, events.CellStarted), examples=900, limits=limits)
    assert ran.result.verdict == events.ERROR
    assert "1 machines were lost" in (ran.result.problem or "")


def test_a_worker_on_a_lost_machine_says_so_and_hangs_nowhere(cluster: DaskExecutor) -> None:
    worker, _ = open_worker(cluster, TargetSpec("tests.verify.hostile:agrees"))
    for pid in cluster.client.run(os.getpid).values():
        os.kill(pid, signal.SIGKILL)
    ending = _last_word(worker)
    assert (ending.reason, ending.case) == (LOST, None)
    worker.close()


def _last_word(worker: Worker) -> Ending:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        said = worker.poll(0.1)
        if isinstance(said, Ending):
            return said
    raise AssertionError("it says nothing")


def test_without_a_scheduler_there_is_nothing_to_run() -> None:
    nowhere = connected("tcp://127.0.0.1:9", 2, LIMITS)
    with pytest.raises(CannotRun, match="no Dask scheduler answers at tcp"):
        nowhere.__enter__()


def test_without_machines_no_worker_starts() -> None:
    with connected("local", 0, LIMITS) as executor, pytest.raises(MachineLost):
        executor.start(TargetSpec("tests.verify.hostile:agrees"), patience=0.5)


# -- the command -----------------------------------------------------------------------------------


def test_the_command_makes_a_cluster_here(tmp_path: Path) -> None:
    asked = ("--target", "tests.verify.hostile:corrupts", "--examples", "20", "--workers", "2")
    ran = command("run", *asked, "--dask", "local", folder=tmp_path)
    assert (ran.code, ran.err) == (1, "")
    assert "✗ 1 distinct divergence" in ran.out


def test_without_the_extra_it_says_what_to_install(
    cli: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "hicache_verify.workers.dask_executor", None)
    code, _, err = cli("run", "--target", "native", "--dask", "local")
    wanted = "pip install 'hicache-verify[dask]'"
    assert code == 2
    assert err == f"hicache-verify: --dask needs Dask's distributed: {wanted}\n"
