"""A trace of requests as operations on a cache, and two caches side by side on them.

Each request looks up its prompt, loads back what is only on the host, makes room, gives the KV of
its prompt to the cache, and sees the transfers end. How much room has to be made is known only at
run time: the operations are recorded on our own cache, then given to both, whose answers must be
equal. The forward pass is no part of a cache: nothing is computed and nothing written to the slots.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, cast
from unittest.mock import patch

import attrs

from benchmarks.measure import Contender, Result, compare
from benchmarks.mooncake import BLOCK, Request, distinct_blocks, prompt
from benchmarks.sessions import Example, Parted
from benchmarks.tables import Column, Table, Value
from hicache_impl.native import target as native
from hicache_impl.native.cache import HierarchicalCache
from hicache_impl.native.kv import KVBuffers
from hicache_impl.native.target import NativeFactory, NativeTarget, settings_for
from hicache_impl.sglang import hiradix
from hicache_impl.sglang.build import build as build_parts
from hicache_impl.sglang.hiradix import HiRadixFactory, HiRadixTarget
from hicache_impl.sglang.observe import Buffers
from hicache_impl.target import Target
from hicache_model import operations as ops
from hicache_model.configuration import Configuration
from hicache_model.fields import MAX_TOKENS
from hicache_model.outcomes import LoadedBack, Matched

POLICIES = ("write_back", "write_through", "write_through_selective")

COLUMNS = (
    Column("cell", "write policy, page"),
    Column("cache", "cache"),
    Column("operations", "done", "{:,}"),
    Column("found", "cached", "{:.0%}"),
    Column("per_second", "a second", "{:,.0f}"),
    Column("least", "least", "{:,.0f}"),
    Column("most", "most", "{:,.0f}"),
    Column("ratio", "times", "{:.2f}"),
)


@attrs.frozen
class Load:
    """Requests, and the caches they meet: tokens a block, pools as shares of the working set."""

    name: str
    requests: tuple[Request, ...]
    block_tokens: int
    device_share: float
    host_share: float

    def configuration(self, write_policy: str, page_size: int) -> Configuration:
        working_set = distinct_blocks(self.requests) * self.block_tokens
        return Configuration(
            write_policy=write_policy,
            page_size=page_size,
            device_slots=_pages(working_set * self.device_share, page_size),
            host_slots=_pages(working_set * self.host_share, page_size),
            load_back_threshold=page_size,
            copies="early",
            requests=1,
            context_length=2,
        )

    def prompts(self, most: int) -> Iterator[tuple[int, ...]]:
        """Cut to ``most`` tokens, which a request may take of the device."""
        for request in self.requests:
            yield prompt(request, self.block_tokens)[:most]


def _pages(tokens: float, page_size: int) -> int:
    return max(4, round(tokens / page_size)) * page_size


# -- recording -------------------------------------------------------------------------------------


@attrs.define
class Recorder:
    """Serves requests on our own cache and keeps the operations; ``found`` tokens were cached."""

    target: NativeTarget
    operations: list[ops.Operation] = attrs.field(factory=list)
    found: int = 0
    asked: int = 0

    def serve(self, tokens: tuple[int, ...]) -> None:
        cache = self.target.cache
        tokens = cache.tree.whole_pages(tokens)
        if not tokens:
            return
        matched = self._do(ops.Match(tokens))
        assert isinstance(matched, Matched)
        if matched.host_length and self._load(tokens):
            self._do(ops.StartLoads())
            self._do(ops.CompleteLoads(1))
        self.found += matched.device_length + matched.host_length
        self.asked += len(tokens)
        missing = len(tokens) - cache.available_size
        if missing > 0:
            self._do(ops.EvictDevice(missing))
        self._do(ops.Insert(tokens))
        if cache.writer.pending:
            self._do(ops.CompleteWrites(len(cache.writer.pending)))

    def _load(self, tokens: tuple[int, ...]) -> bool:
        loaded = self._do(ops.LoadBack(tokens))
        assert isinstance(loaded, LoadedBack)
        return loaded.tokens > 0

    def _do(self, operation: ops.Operation) -> object:
        self.operations.append(operation)
        return self.target.perform(operation)


def record(load: Load, configuration: Configuration) -> tuple[Example, float]:
    """The operations, and the share of the prompts that was found cached."""
    recorder = Recorder(NativeFactory().build(configuration))
    most = min(MAX_TOKENS, configuration.device_slots // 2)
    with without_forward_pass():
        for tokens in load.prompts(most):
            recorder.serve(tokens)
    return Example(configuration, tuple(recorder.operations)), recorder.found / recorder.asked


# -- replaying -------------------------------------------------------------------------------------


@contextmanager
def without_forward_pass() -> Iterator[None]:
    """The two adapters stamp no fingerprints."""
    with ExitStack() as patches:
        for module in (native, hiradix):
            patches.enter_context(patch.object(module, "fingerprints", lambda *_: ()))
        patches.enter_context(patch.object(KVBuffers, "stamp", lambda *_: None))
        patches.enter_context(patch.object(Buffers, "write", lambda *_: None))
        yield


class BareNative(NativeTarget):
    """Slots are not checked one by one for the outcome."""

    def _match(self, o: ops.Match) -> Matched:
        found = self.cache.match(o.tokens, o.namespace)
        return Matched(len(found.slots), found.host_length)


class BareHiRadix(HiRadixTarget):
    """Its prompts are arrays beforehand, as a scheduler has them; slots are not listed."""

    def prepare(self, operations: Sequence[ops.Operation]) -> None:
        make, keys = self._calls.key, dict[int, Any]()
        for operation in operations:
            tokens = getattr(operation, "tokens", None)
            if tokens is not None:
                keys[id(tokens)] = make(tokens, None)
        self._calls.key = lambda tokens, _: keys.get(id(tokens)) or make(tokens, None)

    def _match(self, o: ops.Match) -> Matched:
        found = self._calls.match(o.tokens, o.namespace)
        return Matched(len(found.device_indices), found.host_hit_length)


@attrs.define
class Side:
    """One cache under measurement: built anew for each round, which is not measured."""

    build: Callable[[Example], Target]
    example: Example
    target: Target = attrs.field(init=False)

    def ready(self, number: int) -> None:
        self.target = self.build(self.example)

    def run(self, number: int) -> int:
        perform = self.target.perform
        for operation in self.example.operations:
            perform(operation)
        return len(self.example.operations)


def peer(factory: HiRadixFactory) -> Callable[[Example], Target]:
    def build(example: Example) -> Target:
        parts = build_parts(factory.loaded, cast(Any, example.configuration))
        target = BareHiRadix(parts, example.configuration)
        target.prepare(example.operations)
        return target

    return build


def own(example: Example) -> Target:
    settings = settings_for(example.configuration, "cpu")
    return BareNative(HierarchicalCache(settings), example.configuration)


def same_answers(example: Example, *builds: Callable[[Example], Target]) -> None:
    """Raises Parted where the caches do not answer the same."""
    targets = [build(example) for build in builds]
    for number, operation in enumerate(example.operations, 1):
        first, *others = (target.perform(operation) for target in targets)
        if any(other != first for other in others):
            kind = type(operation).__name__
            raise Parted(f"operation {number}, {kind}: one says {first}, another {others[0]}")


# -- the table -------------------------------------------------------------------------------------


def table(
    factory: HiRadixFactory,
    load: Load,
    policies: Sequence[str],
    page_sizes: Sequence[int],
    rounds: int,
    say: Callable[[str], None],
) -> Table:
    rows: list[tuple[Value, ...]] = []
    for policy in policies:
        for page_size in page_sizes:
            say(f"serving: {policy}, page size {page_size}")
            rows += measure(factory, load, load.configuration(policy, page_size), rounds, say)
    title = f"Serving: our cache and HiRadixCache {factory.description.release}"
    return Table(title, COLUMNS, tuple(rows), _notes(load, rounds))


def measure(
    factory: HiRadixFactory,
    load: Load,
    configuration: Configuration,
    rounds: int,
    say: Callable[[str], None],
) -> list[tuple[Value, ...]]:
    """A row for each of the two; Parted where they answer differently."""
    example, found = record(load, configuration)
    theirs = peer(factory)
    sides = {"SGLang": Side(theirs, example), "ours": Side(own, example)}
    contenders = [Contender(name, name, side.run, side.ready) for name, side in sides.items()]
    with without_forward_pass():
        same_answers(example, theirs, own)
        results = compare(contenders, rounds, say)
    cell = f"{configuration.write_policy}, {configuration.page_size}"
    return [_row(cell, found, len(example.operations), result) for result in results]


def _row(cell: str, found: float, operations: int, result: Result) -> tuple[Value, ...]:
    speeds = 1 / result.cost, 1 / result.most, 1 / result.least
    return (cell, result.name, operations, found, *speeds, 1 / result.ratio)


def _notes(load: Load, rounds: int) -> tuple[str, ...]:
    different = distinct_blocks(load.requests) * load.block_tokens
    what = f"{load.name}: {len(load.requests):,} requests, {load.block_tokens} tokens a block"
    pools = f"The device holds {load.device_share:.0%} of them, the host {load.host_share:.0%}"
    return (
        f"{what} of {BLOCK}, {different:,} different tokens.",
        f"{pools}; no prompt takes more than half of the device.",
        "Match, load back, evict, insert and the ends of transfers, without a forward pass.",
        f"Operations for each second of CPU: medians and extremes of {rounds} rounds side by side.",
        "Cached is the share of the prompts that was found. Both gave the same answers.",
    )
