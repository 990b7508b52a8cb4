"""Two cores of one cache on the same operations, and which of the three stands alone.

Each core is in a lockstep of its own, with a model of its own. A model takes nothing from its
target, so both models are always in one state, and cores that agree with it agree with each other
in all that both show. Which slots they take is their own choice, and the laws judge it of each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType

import attrs

from hicache_impl.target import AnyFactory, SideBySide
from hicache_model.configuration import Configuration
from hicache_model.keys import tokens_of
from hicache_model.observations import shown_like
from hicache_model.operations import EvictDevice, EvictHost, Match, Operation
from hicache_model.reference import Reference
from hicache_model.snapshot import Snapshot
from hicache_verify.compare import explain
from hicache_verify.divergence import BOTH, MODEL, NAMES, NOBODY, UNDECIDED, Divergence
from hicache_verify.escaped import escaped
from hicache_verify.lockstep import Lockstep

MOST_PROBES = 64
"""Evictions after which it stays undecided what a difference leads to."""

Turn = Callable[[str], None]
"""Is told which core is about to be given something to do; an empty name for none."""


def _unheard(core: str) -> None:
    pass


def in_lockstep(
    factory: AnyFactory,
    configuration: Configuration,
    *,
    exact: bool = True,
    strict: Mapping[str, str] = MappingProxyType({}),
    turn: Turn = _unheard,
) -> Lockstep:
    """One example on what ``factory`` makes, be it one cache or two; ValueError where it refuses.

    Raises CannotBeBuilt where a core raises anything else.
    """
    if isinstance(factory, SideBySide):
        return Abreast(factory, configuration, exact=exact, strict=strict, turn=turn)
    return Lockstep(factory, configuration, exact=exact, strict=strict)


class CannotBeBuilt(Exception):
    """A core raised while its cache was built."""

    def __init__(self, divergence: Divergence) -> None:
        super().__init__(divergence.message)
        self.divergence = divergence


class Abreast(Lockstep):
    """As a Lockstep. It shows what the first core does, or the one that has diverged."""

    def __init__(
        self,
        factory: SideBySide,
        configuration: Configuration,
        *,
        exact: bool = True,
        strict: Mapping[str, str] = MappingProxyType({}),
        turn: Turn = _unheard,
    ) -> None:
        self.pair = factory
        self.configuration = configuration
        self.exact = exact
        self.strict = strict
        self.performed = []
        self.cores: dict[str, Lockstep] = {}
        self._turn = turn
        self._build()
        first = next(iter(self.cores.values()))
        self.model, self.target, self.outcome = first.model, first.target, None
        self.actual = first.actual

    def _build(self) -> None:
        found = {}
        for name, factory in self.pair.members.items():
            self._turn(name)
            try:
                self.cores[name] = Lockstep(
                    factory, self.configuration, exact=self.exact, strict=self.strict
                )
            except ValueError:
                raise
            except BaseException as error:  # noqa: BLE001 - a target may raise anything
                found[name] = escaped(error, ())
        if found:
            raise CannotBeBuilt(_named(found, self._by_what_all_show(found)))

    def shown(self) -> tuple[Snapshot, ...]:
        return tuple(core.actual for core in self.cores.values())

    def step(self, operation: Operation) -> Divergence | None:
        self.performed.append(operation)
        found = self._step(operation)
        if found and not self.exact:
            return self._again(found)
        self._show(next(iter(found or self.cores)))
        return _named(found, self._stands_alone(found)) if found else None

    def skip_to(self, operations: Iterable[Operation]) -> None:
        operations = tuple(operations)
        self.performed += operations
        for name, core in self.cores.items():
            self._turn(name)
            core.skip_to(operations)
        self._turn("")
        self._show(next(iter(self.cores)))

    def finish(self) -> Divergence | None:
        found = self._each(Lockstep.finish)
        return self._again(found) if found else None

    def _step(self, operation: Operation) -> dict[str, Divergence]:
        return self._each(lambda core: core.step(operation))

    def _each(self, act: Callable[[Lockstep], Divergence | None]) -> dict[str, Divergence]:
        """What each core does at its turn; the divergences of those that have one."""
        found = {}
        for name, core in self.cores.items():
            self._turn(name)
            try:
                parted = act(core)
            except BaseException as error:  # noqa: BLE001 - a target may raise anything
                parted = escaped(error, self.performed)
            if parted is not None:
                found[name] = parted
        self._turn("")
        return found

    def _again(self, noticed: Mapping[str, Divergence]) -> Divergence:
        """What a quick comparison noticed, looked at exactly, with all three from the start."""
        again = self._once_more()
        for operation in self.performed:
            found = again.step(operation)
            if found is not None:
                return found
        return _named(noticed, UNDECIDED)

    def _show(self, name: str) -> None:
        """What ``name`` shows; where that is not everything, the rest is as it should be."""
        core = self.cores[name]
        self.target, self.outcome, self.actual = core.target, core.outcome, core.actual
        if core.unobserved:
            due = core.expected().nodes
            nodes = {
                path: shown_like(node, due.get(path), core.unobserved)
                for path, node in core.actual.nodes.items()
            }
            self.actual = attrs.evolve(core.actual, nodes=nodes)

    # -- who stands alone --------------------------------------------------------------------------

    def _stands_alone(self, found: Mapping[str, Divergence]) -> str:
        """One core alone, if the other could show the same and agrees with the model."""
        if any(parted.exception for parted in found.values()):
            return self._by_what_all_show(found)
        *before, last = self.performed
        again = self._showing_the_same(before)
        seen = again._step(last)
        if len(found) > 1:
            return again._by_what_all_show(seen) if len(seen) > 1 else NOBODY
        (name,) = found
        return name if seen else self._by_what_follows(name)

    def _once_more(self) -> Abreast:
        return Abreast(
            self.pair, self.configuration, exact=True, strict=self.strict, turn=self._turn
        )

    def _showing_the_same(self, operations: Sequence[Operation]) -> Abreast:
        """All three once more, after ``operations``, and no core shows more than the other."""
        again = self._once_more()
        hidden = {name for core in self.cores.values() for name in core.unobserved}
        for core in again.cores.values():
            core.unobserved = tuple(sorted(hidden))
        again.skip_to(operations)
        return again

    def _by_what_all_show(self, found: Mapping[str, Divergence]) -> str:
        if len(found) == 1:
            return next(iter(found))
        ways = {(parted.kind, parted.law, parted.exception) for parted in found.values()}
        raised = any(parted.exception for parted in found.values())
        return MODEL if len(ways) == 1 and (raised or self._show_the_same()) else NOBODY

    def _show_the_same(self) -> bool:
        one, other = self.cores.values()
        hidden = {*one.unobserved, *other.unobserved}
        return one.outcome == other.outcome and not any(explain(one.actual, other.actual, hidden))

    def _by_what_follows(self, name: str) -> str:
        """What only ``name`` shows has consequences that both do, if everything is evicted now."""
        for script in (_evictions, _lookups_and_evictions):
            again = self._showing_the_same(self.performed)
            for operation in script(again.model):
                found = again._step(operation) if again.illegal(operation) is None else {}
                if name in found:
                    return again._by_what_all_show(found)
                if found:
                    break
        return UNDECIDED


def _evictions(model: Reference) -> Iterator[Operation]:
    for _ in range(MOST_PROBES // 2):
        if not model.tree.by_path:
            return
        yield EvictHost(1)
        yield EvictDevice(1)


def _lookups_and_evictions(model: Reference) -> Iterator[Operation]:
    """What is kept as a leaf, and has others below it that are younger, is the first victim."""
    for path in sorted(model.tree.by_path, key=lambda path: len(path.tokens)):
        yield Match(tokens_of(path.tokens), path.namespace)
    yield from _evictions(model)


def _named(found: Mapping[str, Divergence], alone: str) -> Divergence:
    """One divergence for all that were found, with whose it is and who stands alone."""
    (first, parted), *more = found.items()
    if not more:
        return attrs.evolve(parted.of_core(first), stands_alone=alone)
    if alone == MODEL:
        return attrs.evolve(parted.of_core(BOTH), stands_alone=alone)
    message = "; ".join(f"{NAMES.get(name, name)}: {each.message}" for name, each in found.items())
    return attrs.evolve(parted, core=BOTH, message=message, stands_alone=alone)
