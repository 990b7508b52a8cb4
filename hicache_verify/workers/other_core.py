"""A core that hangs or ends its process takes the other with it, which is therefore asked alone."""

from __future__ import annotations

from collections.abc import Callable

import attrs

from hicache_verify.cannot_run import CannotRun
from hicache_verify.divergence import MODEL, NOBODY, UNDECIDED, Divergence
from hicache_verify.targets import TargetSpec
from hicache_verify.workers.asking import ask, open_worker
from hicache_verify.workers.autopsy import Ending, judge
from hicache_verify.workers.executor import Executor
from hicache_verify.workers.messages import Attempt, Attempted, Case
from hicache_verify.workers.watch import Limits


@attrs.frozen
class OtherCore:
    """Where it is asked."""

    executor: Executor
    spec: TargetSpec
    limits: Limits

    def attribute(
        self, ended: Divergence, case: Case, idle: Callable[[], None] = lambda: None
    ) -> Divergence:
        """``ended`` with who stands alone, if it is of one of two cores."""
        if ended.core is None:
            return ended
        try:
            alone = self._stands_alone(ended, case, idle)
        except CannotRun:
            alone = UNDECIDED
        return attrs.evolve(ended, stands_alone=alone)

    def _stands_alone(self, ended: Divergence, case: Case, idle: Callable[[], None]) -> str:
        worker, opened = open_worker(self.executor, self.spec, idle=idle)
        try:
            (other,) = opened.description.members.keys() - {ended.core}
            said = ask(worker, Attempt(case, core=other), idle=idle)
        finally:
            worker.close()
        if not isinstance(said, (Attempted, Ending)):
            return UNDECIDED
        found = said.divergence if isinstance(said, Attempted) else judge(said, self.limits)
        if found is None:
            return str(ended.core)
        alike = (found.kind, found.exception) == (ended.kind, ended.exception)
        return MODEL if alike else NOBODY
