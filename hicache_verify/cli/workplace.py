"""Where the workers of a run are: on this machine, or on those of a Dask cluster."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, TypeAlias

from hicache_verify.cannot_run import CannotRun

if TYPE_CHECKING:
    from hicache_verify.campaigns.plan import Plan
    from hicache_verify.workers.executor import Executor

    Workplace: TypeAlias = Callable[
        [Plan], contextlib.AbstractContextManager[tuple[Executor, Plan]]
    ]


@contextlib.contextmanager
def workplace(plan: Plan, dask: str | None, *, fit: bool) -> Iterator[tuple[Executor, Plan]]:
    """The executor, and the plan; with ``fit`` it has a worker for each thread of the cluster."""
    import attrs

    if dask is None:
        from hicache_verify.workers.executor import LocalExecutor

        yield LocalExecutor(plan.limits), plan
        return
    try:
        from hicache_verify.workers.dask_executor import LOCAL, connected
    except ImportError as error:
        command = "pip install 'hicache-verify[dask]'"
        raise CannotRun(f"--dask needs Dask's distributed: {command}", str(error)) from error
    with connected(dask, plan.lanes, plan.limits) as executor:
        if fit and dask != LOCAL:
            plan = attrs.evolve(plan, workers=executor.threads)
        yield executor, plan
