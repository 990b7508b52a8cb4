"""Explorations in this process, and every list of operations without any of their cleverness."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import permutations, product

from hicache_impl.target import TargetFactory
from hicache_model import operations as ops
from hicache_model import rules
from hicache_model.configuration import Configuration
from hicache_model.dialects import Dialect
from hicache_model.operations import Operation
from hicache_model.reference import Reference
from hicache_verify.exploration.bound import Bound, Operations
from hicache_verify.exploration.expanding import Expander
from hicache_verify.exploration.explore import Exploration, Hear, Search, State
from hicache_verify.lockstep import Lockstep
from hicache_verify.workers.guard import Guard
from hicache_verify.workers.journal import Journal, make_file
from hicache_verify.workers.messages import Expand
from tests.verify.mimic import RELEASE

SMALL = Configuration(device_slots=2, host_slots=2)
DIALECT = Dialect.of(RELEASE)


def search(factory: TargetFactory, bound: Bound, configuration: Configuration = SMALL) -> Search:
    """An exploration without processes."""
    guard = Guard(factory, Journal(make_file()), exact=True)

    def expand(states: Sequence[State], hear: Hear) -> None:
        hear(
            states,
            Expander(guard, DIALECT, Expand(configuration, bound, tuple(states), None)).run(),
        )

    return Search(configuration, bound, expand)


def explored(
    factory: TargetFactory, bound: Bound, configuration: Configuration = SMALL
) -> Exploration:
    return search(factory, bound, configuration).run()


# -- the obvious way -------------------------------------------------------------------------------


def every_list(
    depth: int, tokens: int, configuration: Configuration = SMALL
) -> Iterator[Operations]:
    """All legal lists up to this length over all token ids, none joined, renamed or left out."""
    layer: list[Operations] = [()]
    for _ in range(depth):
        layer = [(*path, op) for path in layer for op in everything(path, tokens, configuration)]
        yield from layer


def everything(path: Operations, tokens: int, configuration: Configuration) -> list[Operation]:
    """All legal operations that do something, or look up something that is there."""
    model = modelled(path, configuration)
    lists = [
        each
        for length in range(1, configuration.device_slots + 1)
        for each in product(range(1, tokens + 1), repeat=length)
    ]
    cached = [node.path.tokens for node in model.tree.by_path.values()]
    known = [each for each in lists if any(each[0] == path[0] for path in cached)]
    device = configuration.device_slots - model.device_free()
    host = configuration.host_slots - model.host_free()
    candidates: list[Operation] = [ops.Insert(each) for each in lists]
    candidates += [kind(each) for kind in (ops.Match, ops.LoadBack) for each in known]
    candidates += [ops.EvictDevice(count + 1) for count in range(device)]
    candidates += [ops.EvictHost(count + 1) for count in range(host)]
    for kind in (ops.CompleteWrites, ops.CompleteLoads):
        candidates += [kind(count) for count in range(1, 5)]
    candidates += [ops.StartLoads()] * bool(model.queued_loads) + [ops.Reset()] * bool(cached)
    return [op for op in candidates if rules.refusal(model, op) is None]


def modelled(
    path: Operations, configuration: Configuration = SMALL, dialect: Dialect = DIALECT
) -> Reference:
    model = Reference(configuration, dialect)
    for operation in path:
        model.apply(operation)
    return model


def shortest(factory: TargetFactory, depth: int, tokens: int) -> int | None:
    """The length of the shortest list that diverges, found by trying them all from the start."""
    for path in every_list(depth, tokens):
        lockstep = Lockstep(factory, SMALL, exact=True)
        if any(lockstep.step(operation) is not None for operation in path):
            return len(path)
    return None


def name_free(model: Reference, tokens: int) -> str:
    """The facts of a model, the same under any renaming of token ids."""
    ids = range(1, tokens + 1)
    return min(_facts(model, dict(zip(ids, names, strict=True))) for names in permutations(ids))


def _facts(model: Reference, name: dict[int, int]) -> str:
    nodes = list(model.tree.by_path.values())
    used = sorted(node.last_access for node in nodes)
    made = sorted(node.creation for node in nodes)
    facts = sorted(
        (
            [name[token] for token in node.path.tokens],
            node.length,
            node.on_device,
            node.on_host,
            node.lock_ref,
            node.host_lock,
            str(node.transfer),
            node.hit_count,
            used.index(node.last_access),
            made.index(node.creation),
        )
        for node in nodes
    )
    moving = [
        (
            transfer.kind,
            transfer.started,
            [[name[t] for t in path.tokens] for path in transfer.anchors if path],
        )
        for transfer in model.transfers()
    ]
    return repr((facts, moving))
