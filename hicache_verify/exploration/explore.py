"""Exhaustive small scope: every list of operations within a bound, in order of length.

Lists that lead to the same state are joined, so a divergence that is found has the shortest trace
there is, and where none is found that is a proof within the bound (docs/explore.md says of what).
This file decides what is tried and counts it; ``expanding`` does the trying.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import attrs

from hicache_model.configuration import Configuration
from hicache_model.operations import Operation
from hicache_verify.campaigns.cells import kind_of
from hicache_verify.divergence import Divergence
from hicache_verify.exploration.bound import Bound, Operations


@attrs.frozen
class State:
    """A state by the first list of operations that led to it; ``key`` is its digest.

    The start has no key before it was looked at.
    """

    operations: Operations = ()
    key: bytes | None = None


@attrs.frozen
class Reached:
    """One transition: ``operation``, after the state of that index, leads to the state ``key``."""

    index: int
    operation: Operation
    key: bytes


@attrs.frozen
class Found:
    """A divergence, and the operations that show it."""

    divergence: Divergence
    operations: Operations


@attrs.frozen
class Expanded:
    """What all operations of the alphabet after some states came to.

    ``start`` is the key of the state without operations, where that was among them. It is not
    ``complete`` where time was up.
    """

    reached: tuple[Reached, ...] = ()
    found: tuple[Found, ...] = ()
    transitions: int = 0
    complete: bool = True
    start: bytes | None = None


@attrs.frozen
class Layer:
    """One depth, finished or cut short: new states and transitions."""

    depth: int
    states: int
    transitions: int
    complete: bool
    seconds: float


@attrs.define
class Exploration:
    """``layers`` from depth 1 on; ``found`` has one entry for each distinct divergence."""

    bound: Bound
    configuration: Configuration
    layers: list[Layer] = attrs.field(factory=list)
    found: list[Found] = attrs.field(factory=list)
    interrupted: bool = False

    @property
    def depth(self) -> int:
        """The depth up to which everything was tried."""
        return max((layer.depth for layer in self.layers if layer.complete), default=0)

    @property
    def states(self) -> int:
        return 1 + sum(layer.states for layer in self.layers)

    @property
    def transitions(self) -> int:
        return sum(layer.transitions for layer in self.layers)

    @property
    def seconds(self) -> float:
        return sum(layer.seconds for layer in self.layers)

    @property
    def complete(self) -> bool:
        """Whether all of the bound was tried, up to a divergence."""
        return not self.interrupted and all(layer.complete for layer in self.layers)

    @property
    def exhausted(self) -> bool:
        """Whether no operation leads to a new state any more: longer lists show nothing new."""
        return self.complete and not self.found and self.layers[-1].states == 0

    def sentence(self) -> str:
        """What was shown, to be quoted."""
        c = self.configuration
        ids = "1 token id" if self.bound.tokens == 1 else f"{self.bound.tokens} token ids"
        cache = ", ".join(
            [f"page size {c.page_size}", c.write_policy, c.eviction_policy, *kind_of(c)]
        )
        scope = (
            f"over {ids}, device {c.device_slots} and host {c.host_slots} tokens, {cache} "
            f"({', '.join(self.bound.alphabet)})"
        )
        if self.found:
            length = min(len(found.operations) for found in self.found)
            return (
                f"the shortest divergence has {_operations(length)}, none shorter exists, {scope}"
            )
        if self.exhausted:
            return f"no divergence within any number of operations {scope}"
        return f"no divergence within {_operations(self.depth)} {scope}"


def _operations(count: int) -> str:
    return "1 operation" if count == 1 else f"{count} operations"


Hear = Callable[[Sequence[State], Expanded], None]
Expand = Callable[[Sequence[State], Hear], None]
"""Tries everything after the given states, and tells what became of some of them at a time.

It tells so in the order of the states, and raises KeyboardInterrupt where it is to end early.
"""


class Search:
    """Runs one exploration. ``emit`` hears of every layer as it ends."""

    def __init__(
        self,
        configuration: Configuration,
        bound: Bound,
        expand: Expand,
        *,
        emit: Callable[[Layer], None] = lambda layer: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._bound = bound
        self._expand = expand
        self._emit = emit
        self._clock = clock
        self._seen: set[bytes] = set()
        self._names: dict[Operation, Operation] = {}
        self.result = Exploration(bound, configuration)
        self.states = self.transitions = 0

    def run(self) -> Exploration:
        """Depth by depth; stops after the first depth with a divergence, or that is cut short."""
        result = self.result
        frontier = [State()]
        for depth in range(1, self._bound.depth + 1):
            frontier = self._layer(depth, frontier)
            if result.found or not result.complete or not frontier:
                break
        return result

    def _layer(self, depth: int, frontier: Sequence[State]) -> list[State]:
        began, states, transitions = self._clock(), self.states, self.transitions
        reached: list[State] = []
        complete = True

        def hear(asked: Sequence[State], expanded: Expanded) -> None:
            nonlocal complete
            complete = complete and expanded.complete
            reached.extend(self._join(asked, expanded))

        try:
            self._expand(frontier, hear)
        except KeyboardInterrupt:
            complete, self.result.interrupted = False, True
        layer = Layer(
            depth,
            self.states - states,
            self.transitions - transitions,
            complete,
            self._clock() - began,
        )
        self.result.layers.append(layer)
        self._emit(layer)
        return reached

    def _join(self, asked: Sequence[State], expanded: Expanded) -> list[State]:
        """The states to go on from."""
        if expanded.start is not None:
            self._seen.add(expanded.start)
        self.transitions += expanded.transitions
        self._note(expanded.found)
        return [
            State((*asked[reached.index].operations, self._named(reached.operation)), reached.key)
            for reached in expanded.reached
            if self._is_new(reached.key) or not self._bound.join
        ]

    def _is_new(self, key: bytes) -> bool:
        if key in self._seen:
            return False
        self._seen.add(key)
        self.states += 1
        return True

    def _named(self, operation: Operation) -> Operation:
        """One object for equal operations, of which there are few."""
        return self._names.setdefault(operation, operation)

    def _note(self, found: Sequence[Found]) -> None:
        known = {other.divergence.key for other in self.result.found}
        for one in found:
            if one.divergence.key not in known:
                known.add(one.divergence.key)
                self.result.found.append(one)
