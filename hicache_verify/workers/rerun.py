"""Runs one case in a worker of its own, as a campaign would: a hang or a death is a divergence."""

from __future__ import annotations

import attrs

from hicache_impl.target import Description
from hicache_verify.cannot_run import CannotRun
from hicache_verify.catalogue.resemblance import likened
from hicache_verify.divergence import Divergence
from hicache_verify.minimizing import steps_of
from hicache_verify.replay import Step
from hicache_verify.targets import TargetSpec
from hicache_verify.workers.asking import ask, detail, open_worker, say
from hicache_verify.workers.autopsy import Ending, judge
from hicache_verify.workers.executor import Executor
from hicache_verify.workers.messages import Attempt, Attempted, Case, Minimize, Minimized
from hicache_verify.workers.other_core import OtherCore
from hicache_verify.workers.watch import Limits


@attrs.frozen
class Rerun:
    """What came of it. ``case`` is what was performed; ``illegal`` is where it had to stop."""

    target: Description
    case: Case
    divergence: Divergence | None
    illegal: tuple[int, str] | None
    steps: tuple[Step, ...]


@attrs.frozen
class Runner:
    """Where cases are run."""

    executor: Executor
    spec: TargetSpec
    limits: Limits

    def run(self, job: Attempt) -> Rerun:
        """``job`` in a fresh process; CannotRun where target or configuration cannot be."""
        worker, opened = open_worker(self.executor, self.spec)
        try:
            said = ask(worker, job)
        finally:
            worker.close()
        target = opened.description
        if isinstance(said, Attempted):
            found = said.divergence and _likened(said.divergence, target, said.case)
            return Rerun(target, said.case, found, said.illegal, said.steps)
        divergence = judge(said, self.limits) if isinstance(said, Ending) else None
        if divergence is None or not isinstance(said, Ending) or said.case is None:
            raise CannotRun(f"{target.target} {target.release}: {say(said)}", detail(said))
        divergence = self._attributed(divergence, said.case)
        steps = steps_of(said.case, divergence, self._attempt) if job.keep_steps else ()
        return Rerun(target, said.case, divergence, None, steps)

    def minimize(self, found: Rerun) -> Minimized:
        """The shortest case that diverges as ``found`` does; CannotRun where that fails."""
        assert found.divergence is not None
        isolated = found.divergence.kind in ("hang", "death")
        worker, _ = open_worker(self.executor, self.spec)
        try:
            said = ask(worker, Minimize(found.case, found.divergence, isolated))
        finally:
            worker.close()
        if not isinstance(said, Minimized):
            raise CannotRun(f"minimizing failed: {say(said)}", detail(said))
        shortest = self._attributed(said.divergence, said.case) if isolated else said.divergence
        return attrs.evolve(said, divergence=_likened(shortest, found.target, said.case))

    def _attributed(self, ended: Divergence, case: Case) -> Divergence:
        return OtherCore(self.executor, self.spec, self.limits).attribute(ended, case)

    def _attempt(self, job: Attempt) -> Attempted:
        run = self.run(job)
        return Attempted(run.divergence, run.case, run.illegal, run.steps)


def _likened(divergence: Divergence, target: Description, case: Case) -> Divergence:
    return likened(divergence, target.release, target.target, case.configuration)
