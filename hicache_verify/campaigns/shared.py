"""What the lanes of a campaign share: its plan, its findings and counts, and the way to its end."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable

from hicache_model.dialects import Dialect
from hicache_verify import events
from hicache_verify.campaigns.cells import Cell
from hicache_verify.campaigns.coverage import Coverage
from hicache_verify.campaigns.ledger import Ledger
from hicache_verify.campaigns.past import Past
from hicache_verify.campaigns.plan import Plan
from hicache_verify.events import Canaries
from hicache_verify.findings import FoundAfter
from hicache_verify.reach import Reach
from hicache_verify.workers.executor import Executor
from hicache_verify.workers.messages import Key


class Shared:
    """Who reads and then changes something holds ``lock``; listeners hear one event at a time.

    ``lost`` counts the workers that a finding has ended, ``broken`` those that failed by our fault,
    ``machines_lost`` those whose machine went.
    """

    def __init__(
        self,
        plan: Plan,
        executor: Executor,
        listener: events.Listener,
        clock: Callable[[], float],
        past: Past,
    ) -> None:
        self.plan = plan
        self.past = past
        self.executor = executor
        self.clock = clock
        self.lock = threading.RLock()
        self.stop = threading.Event()
        self.ledger = Ledger(plan.seed, self.emit)
        self.ledger.restore(past.findings, past.unsettled)
        self.examples = past.examples
        self.operations = past.operations
        self.lost: Counter[Key] = Counter()
        self.broken = 0
        self.machines_lost = 0
        self.canaries = Canaries()
        self.reaches: dict[Cell, Reach] = {}
        self.dialect: Dialect | None = None
        self._listener = listener
        self._started = clock() - past.seconds

    def emit(self, event: events.Event) -> None:
        with self.lock:
            self._listener(event)

    def count(self, examples: int, operations: int) -> None:
        """So much more was done."""
        with self.lock:
            self.examples += examples
            self.operations += operations

    def reached(self, cell: Cell, reach: Reach) -> None:
        """So much more was reached in a cell."""
        with self.lock:
            self.reaches.setdefault(cell, Reach()).add(reach)

    def coverage(self) -> Coverage | None:
        """All that was reached, where that is asked for."""
        if not self.plan.coverage or self.dialect is None:
            return None
        return Coverage(self.reaches, self.dialect)

    def after(self, examples: int = 0, operations: int = 0) -> FoundAfter:
        """The present moment, when so much more was done than was counted."""
        return FoundAfter(self.examples + examples, self.operations + operations, self.seconds())

    def seconds(self) -> float:
        return self.clock() - self._started

    def full(self) -> bool:
        """Whether as many findings were made as are asked for."""
        return len(self.ledger) >= (1 if self.plan.first else self.plan.limits.findings)
