"""How a parent deals with one worker: open it, give it a job, hear it out."""

from __future__ import annotations

from collections.abc import Callable

from hicache_verify.cannot_run import CannotRun, MachineLost
from hicache_verify.exploration.explore import Expanded
from hicache_verify.targets import TargetSpec
from hicache_verify.workers.autopsy import LOST, Ending
from hicache_verify.workers.executor import Executor, Worker
from hicache_verify.workers.messages import (
    Attempt,
    Attempted,
    Broken,
    Expand,
    Job,
    Leg,
    LegDone,
    Minimize,
    Minimized,
    Opened,
    Refused,
    Reply,
)

POLL = 0.1

_LAST_WORD: dict[type[Job], type[Reply]] = {
    Leg: LegDone,
    Attempt: Attempted,
    Minimize: Minimized,
    Expand: Expanded,
}


def open_worker(
    executor: Executor, spec: TargetSpec, *, idle: Callable[[], None] = lambda: None
) -> tuple[Worker, Opened]:
    """A worker that has the target open; CannotRun where that fails. ``idle`` runs meanwhile."""
    worker = executor.start(spec)
    try:
        said = _wait(worker, idle)
    except BaseException:
        worker.close()
        raise
    if isinstance(said, Opened):
        return worker, said
    worker.close()
    if isinstance(said, Ending):
        if said.reason == LOST:
            raise MachineLost(say(said))
        how = f"the target cannot be opened: its process ended ({said.how})"
        raise CannotRun(how, detail(said))
    raise CannotRun(say(said), detail(said))


def ask(
    worker: Worker,
    job: Job,
    *,
    hear: Callable[[Reply], None] = lambda reply: None,
    idle: Callable[[], None] = lambda: None,
) -> Reply | Ending:
    """The last word on ``job``; what is said before goes to ``hear``, ``idle`` runs between."""
    worker.send(job)
    last = (_LAST_WORD[type(job)], Refused, Broken, Ending)
    while True:
        said = worker.poll(POLL)
        if isinstance(said, last):
            return said
        if said is not None:
            hear(said)
        idle()


def _wait(worker: Worker, idle: Callable[[], None]) -> Reply | Ending:
    while (said := worker.poll(POLL)) is None:
        idle()
    return said


def say(reply: Reply | Ending) -> str:
    """Why a worker's last word was not the one that was due."""
    if isinstance(reply, Ending):
        if reply.reason == LOST:
            return reply.how
        return f"its process ended between two operations ({reply.how})"
    if isinstance(reply, (Broken, Refused)):
        return reply.message
    return f"it said {reply!r:.80}"


def detail(reply: Reply | Ending) -> str:
    """What helps to mend the tool."""
    if isinstance(reply, Ending):
        return reply.output
    return reply.detail if isinstance(reply, (Broken, Refused)) else ""
