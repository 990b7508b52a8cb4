"""The Hypothesis source: the state machines of ``stateful_tests``, driven for a campaign.

Only generation: a campaign minimizes with its own minimizer, which also works on crashes and hangs.
"""

from __future__ import annotations

import time
from random import Random

from hypothesis import HealthCheck, Phase, Verbosity, settings
from hypothesis import seed as seeded
from hypothesis.stateful import run_state_machine_as_test

from hicache_verify.cells import Cell
from hicache_verify.session import Session
from stateful_tests.machines import MACHINES, CacheMachine

BATCH = 30
"""Examples between two looks at the clock."""


def run_hypothesis(
    session: Session, cell: Cell, *, seed: int, examples: int | None, deadline: float | None
) -> None:
    """Batches of examples, the machines in turn, until ``examples``, ``deadline`` or a stop."""
    done = 0
    while examples is None or done < examples:
        if session.stop() or (deadline is not None and time.monotonic() >= deadline):
            return
        batch = BATCH if examples is None else min(BATCH, examples - done)
        machine = MACHINES[(done // BATCH) % len(MACHINES)]
        run_batch(session, cell, machine, Random(f"{seed}/{cell}/{done}").getrandbits(64), batch)
        done += batch


def run_batch(
    session: Session, cell: Cell, machine: type[CacheMachine], seed: int, examples: int
) -> None:
    driven = machine.driven_by(session, cell)
    run_state_machine_as_test(
        seeded(seed)(driven),
        settings=settings(
            max_examples=examples,
            stateful_step_count=driven.STEPS,
            phases=[Phase.generate],
            database=None,
            deadline=None,
            verbosity=Verbosity.quiet,
            suppress_health_check=list(HealthCheck),
        ),
    )
