"""The Hypothesis source: the state machines of ``stateful_tests``, driven for a campaign.

Only generation: a campaign minimizes with its own minimizer, which also works on crashes and hangs.
With a database, Hypothesis keeps what failed, and tries it first the next time.
"""

from __future__ import annotations

import contextlib
import time
from random import Random

from hypothesis import HealthCheck, Phase, Verbosity, settings
from hypothesis import seed as seeded
from hypothesis.database import DirectoryBasedExampleDatabase
from hypothesis.reporting import with_reporter
from hypothesis.stateful import run_state_machine_as_test

from hicache_verify.campaigns.cells import Cell
from hicache_verify.divergence import DivergenceError
from hicache_verify.session import Session
from stateful_tests.machines import MACHINES, CacheMachine

BATCH = 10
"""Examples between two looks at the clock."""


def run_hypothesis(
    session: Session, cell: Cell, *, seed: int, examples: int | None, deadline: float | None
) -> None:
    """Batches of examples, the machines in turn, until ``examples``, ``deadline`` or a stop."""
    if session.database is not None:
        for machine in MACHINES:
            run_batch(session, cell, machine, seed, 1, Phase.reuse, Phase.generate)
    done = 0
    while examples is None or done < examples:
        if session.stop() or (deadline is not None and time.monotonic() >= deadline):
            return
        batch = BATCH if examples is None else min(BATCH, examples - done)
        number = Random(f"{seed}/{cell}/{done}").getrandbits(64)
        machine = MACHINES[done // BATCH % len(MACHINES)]
        run_batch(session, cell, machine, number, batch, Phase.generate)
        done += batch


def run_batch(
    session: Session,
    cell: Cell,
    machine: type[CacheMachine],
    seed: int,
    examples: int,
    *phases: Phase,
) -> None:
    """One batch; a divergence that ends it is in the session's hands already."""
    kept = None if session.database is None else DirectoryBasedExampleDatabase(session.database)
    chosen = settings(
        max_examples=examples,
        stateful_step_count=machine.STEPS,
        phases=phases,
        database=kept,
        deadline=None,
        verbosity=Verbosity.quiet,
        print_blob=False,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )
    driven = seeded(seed)(machine.driven_by(session, cell))
    with contextlib.suppress(DivergenceError), with_reporter(_say_nothing):
        run_state_machine_as_test(driven, settings=chosen)


def _say_nothing(text: object) -> None:
    """Hypothesis tells of a failing example; the campaign's reports do so."""
