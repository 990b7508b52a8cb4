"""Exhaustive small scope: every state within a bound, breadth first, in lockstep with the target.

All operation lists over a small alphabet are tried in order of length, and lists that lead to the
same state are joined, so a divergence that is found has the shortest possible trace, and where none
is found that is a proof within the bound. Two states are the same when the model's facts are: the
tree, tiers, locks, transfers, counters, and the order (not the values) of its clocks.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import product
from typing import Protocol

import attrs

from hicache_model import operations as ops
from hicache_model import rules
from hicache_model.configuration import Configuration
from hicache_model.dialects import Dialect
from hicache_model.operations import Operation
from hicache_model.reference import Reference
from hicache_verify.divergence import Divergence

Operations = tuple[Operation, ...]


@attrs.frozen
class Bound:
    """What is tried: ``tokens`` different token ids, lists of up to ``depth`` operations.

    ``locks`` adds locks and pins to the alphabet.
    """

    depth: int
    tokens: int = 2
    locks: bool = False


@attrs.frozen
class Layer:
    """One depth, finished or cut short: new states, transitions tried, divergences met."""

    depth: int
    states: int
    transitions: int
    complete: bool
    seconds: float


@attrs.frozen
class Found:
    """A divergence with the shortest trace that shows its law."""

    divergence: Divergence
    operations: Operations


@attrs.define
class Exploration:
    """``layers`` from depth 1 on; ``found`` has one entry for each distinct divergence."""

    bound: Bound
    configuration: Configuration
    layers: list[Layer] = attrs.field(factory=list)
    found: list[Found] = attrs.field(factory=list)

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

    def sentence(self) -> str:
        """What was shown, to be quoted."""
        c = self.configuration
        scope = (
            f"{self.bound.tokens} token ids, {c.device_slots} device and {c.host_slots} host "
            f"slots, page size {c.page_size}, {c.write_policy}, {c.eviction_policy}"
        )
        if self.found:
            shortest = len(self.found[0].operations)
            return f"the shortest divergence has {shortest} operations within {scope}"
        return f"no divergence within {self.depth} operations over {scope}"


class Attempt(Protocol):
    """Plays ``path``, which is known to agree, and ``operation`` after it on a fresh cache."""

    def __call__(self, path: Operations, operation: Operation) -> Divergence | Reference:
        """The divergence at ``operation``, or the model as it is after it."""


class Explorer:
    """Runs one exploration. ``emit`` hears of every layer as it ends."""

    def __init__(
        self,
        attempt: Attempt,
        configuration: Configuration,
        dialect: Dialect,
        bound: Bound,
        *,
        deadline: float | None = None,
        emit: Callable[[Layer], None] = lambda layer: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._attempt = attempt
        self._configuration = configuration
        self._dialect = dialect
        self._bound = bound
        self._deadline = deadline
        self._emit = emit
        self._clock = clock

    def run(self) -> Exploration:
        """Depth by depth; stops after the first depth with a divergence, or when time is up."""
        result = Exploration(self._bound, self._configuration)
        seen = {state_key(Reference(self._configuration, self._dialect))}
        frontier: list[Operations] = [()]
        for depth in range(1, self._bound.depth + 1):
            frontier, layer = self._layer(depth, frontier, seen, result.found)
            result.layers.append(layer)
            self._emit(layer)
            if result.found or not layer.complete or not frontier:
                break
        return result

    def _layer(
        self, depth: int, frontier: list[Operations], seen: set[object], found: list[Found]
    ) -> tuple[list[Operations], Layer]:
        started, transitions = self._clock(), 0
        reached: list[Operations] = []
        for path in frontier:
            for operation in self._alphabet(path):
                if self._deadline is not None and self._clock() >= self._deadline:
                    late = Layer(depth, len(reached), transitions, False, self._clock() - started)
                    return reached, late
                transitions += 1
                key = self._try(path, operation, found)
                if key is not None and key not in seen:
                    seen.add(key)
                    reached.append((*path, operation))
        return reached, Layer(depth, len(reached), transitions, True, self._clock() - started)

    def _alphabet(self, path: Operations) -> list[Operation]:
        model = Reference(self._configuration, self._dialect)
        for operation in path:
            model.apply(operation)
        return list(alphabet(model, self._bound, path))

    def _try(self, path: Operations, operation: Operation, found: list[Found]) -> object | None:
        """The key of the state after one more operation; None after a divergence."""
        ended = self._attempt(path, operation)
        if isinstance(ended, Reference):
            return state_key(ended)
        if ended.key not in {other.divergence.key for other in found}:
            found.append(Found(ended, (*path, operation)))
        return None


# -- the alphabet ----------------------------------------------------------------------------------


def alphabet(model: Reference, bound: Bound, path: Operations) -> Iterator[Operation]:
    """Every legal operation in this state, up to renaming of token ids that have not appeared."""
    for operation in _candidates(model, bound, path):
        if rules.refusal(model, operation) is None:
            yield operation


def _candidates(model: Reference, bound: Bound, path: Operations) -> Iterator[Operation]:
    configuration, page = model.configuration, model.page_size
    for tokens in _token_lists(model, bound, path):
        yield ops.Insert(tokens)
        if any(True for _ in model.tree.peek(model.tree.whole_pages(None, tokens))):
            yield ops.Match(tokens)
            if bound.locks:
                yield ops.Lock(tokens)
                yield ops.LockHost(tokens)
    used_device = configuration.device_slots - model.device_free()
    used_host = configuration.host_slots - model.host_free()
    yield from (ops.EvictDevice(n) for n in range(page, used_device + 1, page))
    yield from (ops.EvictHost(n) for n in range(page, used_host + 1, page))
    for node in model.tree.by_path.values():
        if not node.on_device:
            yield ops.LoadBack(node.path.tokens)
    if model.queued_loads:
        yield ops.StartLoads()
    yield from (ops.CompleteWrites(n + 1) for n in range(len(model.writes)))
    yield from (ops.CompleteLoads(n + 1) for n in range(len(model.started_loads)))
    for node in dict.fromkeys(model.locks):
        yield ops.Unlock(node.path.tokens)
    for node in dict.fromkeys(model.host_locks):
        yield ops.UnlockHost(node.path.tokens)


def _token_lists(model: Reference, bound: Bound, path: Operations) -> Iterator[tuple[int, ...]]:
    """Lists of whole pages up to the device's size; a new token id is the next one."""
    appeared = max((t for op in path for t in getattr(op, "tokens", ())), default=0)
    most = model.configuration.device_slots // model.page_size
    for length in range(1, most + 1):
        for pages in product(range(1, bound.tokens + 1), repeat=length):
            if _in_order_of_appearance(pages, appeared):
                yield tuple(page for page in pages for _ in range(model.page_size))


def _in_order_of_appearance(pages: tuple[int, ...], appeared: int) -> bool:
    for page in pages:
        if page > appeared + 1:
            return False
        appeared = max(appeared, page)
    return True


# -- the state -------------------------------------------------------------------------------------


def state_key(model: Reference) -> object:
    """What the model's future depends on, clocks as an order."""
    nodes = list(model.tree.by_path.values())
    accessed = {node.path: i for i, node in enumerate(sorted(nodes, key=lambda n: n.last_access))}
    created = {node.path: i for i, node in enumerate(sorted(nodes, key=lambda n: n.creation))}
    facts = frozenset(
        (
            node.path,
            node.length,
            node.on_device,
            node.on_host,
            node.lock_ref,
            node.host_lock,
            node.transfer,
            node.hit_count,
            node.priority,
            accessed[node.path],
            created[node.path],
        )
        for node in nodes
    )
    return facts, model.transfers(), model.held_paths()
