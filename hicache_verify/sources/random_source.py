"""The fast source: seeded random numbers over the menu, nothing of Hypothesis in a step."""

from __future__ import annotations

import time
from random import Random

from hicache_verify.campaigns.cells import Cell
from hicache_verify.menu import RandomChooser
from hicache_verify.session import Session
from hicache_verify.sources.examples import draw_plan


def run_random(
    session: Session, cell: Cell, *, seed: int, examples: int | None, deadline: float | None
) -> None:
    """Examples until ``examples`` are done, ``deadline`` (monotonic seconds) or the session stops.

    Each example has a generator of its own, so that any one can be run alone from its number.
    """
    number = 0
    while examples is None or number < examples:
        if session.stop() or (deadline is not None and time.monotonic() >= deadline):
            return
        run_example(session, cell, RandomChooser(Random(f"{seed}/{cell}/{number}")))
        number += 1


def run_example(session: Session, cell: Cell, chooser: RandomChooser) -> None:
    """One example: a fresh cache and up to the planned number of operations."""
    plan = draw_plan(cell, session.factory.description, chooser)
    lockstep = session.start(plan.configuration)
    menu = plan.menu(lockstep.model)
    for _ in range(plan.length):
        operation = menu.draw(chooser)
        if operation is not None and session.step(operation) is not None:
            break
    session.end()
