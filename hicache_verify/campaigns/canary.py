"""The canary: now and then an example runs against a planted bug, and it must be found.

It takes the way of every other example, from the source to the comparison. If it stays silent, the
harness is blind, and an agreement of that campaign would mean nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import attrs

from hicache_impl.target import Description, Target, TargetFactory
from hicache_model.configuration import Configuration
from hicache_model.laws import LAWS
from hicache_model.operations import Operation
from hicache_model.policies import is_own_name
from hicache_verify.campaigns.cells import Cell
from hicache_verify.divergence import Divergence
from hicache_verify.menu import RandomChooser
from hicache_verify.session import Session
from hicache_verify.sources.random_source import run_example
from hicache_verify.workers.journal import Journal, Phase
from hicache_verify.workers.messages import Case, Found, Leg, Minimized, Reply, Sung

BUG = "unlocked-node-stays-hidden"
"""Shows under every write policy, eviction policy and page size."""

MOST_EXAMPLES = 40
"""One example finds it in at least 38 of 60 cases (measured with the random source in 21 cells of
three write policies, six eviction policies and page sizes 1 to 64), so that 40 miss it by chance
less than once in 10^17 songs."""


class Canary:
    """Looks before each example of a leg whether it is time."""

    def __init__(
        self,
        leg: Leg,
        journal: Journal,
        send: Callable[[Reply], None],
        unobserved: tuple[str, ...] = (),
    ) -> None:
        self._leg = leg
        self._unobserved = unobserved
        self._journal = journal
        self._send = send
        self._wait = leg.canary_after
        self._songs = 0

    def look(self) -> None:
        if self._wait is None:
            return
        if self._wait > 0:
            self._wait -= 1
            return
        self._wait = self._leg.canary_every - 1
        self._send(self._sing())

    def _sing(self) -> Sung:
        from hicache_impl.bugs.bank import find

        bug = find(BUG)
        self._songs += 1
        self._journal.forget()
        kept = NotKept(self._journal)
        heard: list[Reply] = []
        leg = Leg(trusted(self._leg.cell), "random", self._leg.seed, None, None)
        factory: TargetFactory = bug.factory()
        if self._unobserved:
            factory = EquallyBlind(factory, self._unobserved)
        session = Session(factory, kept, leg, send=heard.append, minimize=_as_it_is)
        number = 0
        while not (found := self._names(bug.law, heard)) and number < MOST_EXAMPLES:
            chooser = RandomChooser(Random(f"canary/{leg.seed}/{self._songs}/{number}"))
            run_example(session, leg.cell, chooser)
            number += 1
        return Sung(bug.identifier, bug.law, found, kept.operations)

    def _names(self, law: str, heard: list[Reply]) -> bool:
        """Whether it was found: by its law, or at all where that law is not judged."""
        found = [said.divergence.law for said in heard if isinstance(said, Found)]
        judged = LAWS[law].needs.isdisjoint(self._unobserved)
        return law in found if judged else bool(found)


@attrs.frozen
class EquallyBlind:
    """A factory whose targets are looked at as if they showed no more than the target does."""

    factory: TargetFactory
    unobserved: tuple[str, ...]

    @property
    def description(self) -> Description:
        return attrs.evolve(self.factory.description, unobserved=self.unobserved)

    def build(self, configuration: Configuration) -> Target:
        return self.factory.build(configuration)


class NotKept(Journal):
    """Stands for the journal of a worker, which notes nothing of a canary but that time passes."""

    def __init__(self, real: Journal) -> None:
        self._real = real
        self.examples = self.operations = 0

    def begin(self, configuration: Configuration) -> None:
        self.examples += 1
        self._real.phase(Phase.IDLE)

    def perform(self, op: Operation) -> None:
        self.operations += 1

    def performed(self) -> None:
        pass

    def phase(self, phase: Phase) -> None:
        pass


def trusted(cell: Cell) -> Cell:
    """With lru in place of a policy that is the user's code, and may itself be what is wrong.

    Full attention alone, which is all that our own cache has, with keys of tokens, with which it is
    known how soon a canary is found.
    """
    policy = "lru" if is_own_name(cell.eviction_policy) else cell.eviction_policy
    return attrs.evolve(cell, eviction_policy=policy, component="full", bigram=False)


def _as_it_is(case: Case, divergence: Divergence) -> Minimized:
    """Nobody reads the trace of a canary."""
    return Minimized(divergence.key, case, divergence)
