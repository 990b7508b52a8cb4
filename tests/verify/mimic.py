"""A target without torch: a second reference model, dressed up with slots and bytes.

It agrees with the model by construction, so whatever a test plants in it is all that can differ.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import attrs

from hicache_impl.target import Description
from hicache_model.configuration import EVICTION_POLICIES, Configuration
from hicache_model.dialects import Dialect
from hicache_model.fingerprint import fingerprints
from hicache_model.operations import Match, Operation
from hicache_model.outcomes import Matched, Outcome
from hicache_model.reference import Reference
from hicache_model.snapshot import Node, Path, Request, Snapshot

RELEASE = "0.5.18"


class Pool:
    """Gives each owner a page of its own, the lowest free one, or the one at index ``take``."""

    take = 0

    def __init__(self, pages: range) -> None:
        self.free = list(pages)
        self.owned: dict[Any, int] = {}

    def keep(self, owners: Iterable[Any]) -> None:
        """From now on exactly ``owners`` own a page each."""
        wanted = list(dict.fromkeys(owners))
        for gone in self.owned.keys() - set(wanted):
            self.free.append(self.owned.pop(gone))
        self.free.sort()
        for owner in wanted:
            if owner not in self.owned:
                self.owned[owner] = self.free.pop(self.take)


Mishap = Callable[[Operation, "Mimic"], None]


class Mimic:
    """Answers what the model answers, after ``mishap`` had its say."""

    def __init__(self, configuration: Configuration, mishap: Mishap) -> None:
        self.configuration = configuration
        self.model = Reference(configuration, Dialect.of(RELEASE))
        self.mishap = mishap
        page = configuration.page_size
        self.device = Pool(range(1, 1 + configuration.device_slots // page))
        self.host = Pool(range(configuration.host_slots // page))

    def perform(self, operation: Operation) -> Outcome:
        self.mishap(operation, self)
        outcome = self.model.apply(operation)
        self._take_stock()
        if isinstance(outcome, Matched) and isinstance(operation, Match):
            found = Path(operation.namespace, operation.tokens[: outcome.device_length])
            return attrs.evolve(outcome, slots=self._slots(self.device, found))
        return outcome

    def observe(self) -> Snapshot:
        bare = self.model.snapshot()
        page = self.configuration.page_size
        requests = {n: self._dressed_request(n, r) for n, r in bare.requests.items()}
        return attrs.evolve(
            bare,
            nodes={path: self._dressed_node(node) for path, node in bare.nodes.items() if node},
            requests=requests,
            device_free=tuple(self.device.free),
            host_free=tuple(p * page + i for p in self.host.free for i in range(page)),
            device_kv=dict(self._content(bare.nodes.values(), requests, "device")),
            host_kv=dict(self._content(bare.nodes.values(), {}, "host")),
        )

    def observe_at(self, paths: Iterable[Path]) -> Snapshot:
        return self.observe()

    def _take_stock(self) -> None:
        bare = self.model.snapshot()
        nodes = [node for node in bare.nodes.values() if node]
        rows = [
            ("request", number, index // self.configuration.page_size)
            for number, request in bare.requests.items()
            for index in range(request.protected, request.computed)
        ]
        self.device.keep([o for n in nodes if not n.evicted for o in self._owners(n)] + rows)
        self.host.keep([o for n in nodes if n.backed_up for o in self._owners(n)])

    def _owners(self, node: Node) -> Iterator[tuple[str | None, tuple[int, ...]]]:
        namespace, tokens = node.path
        page = self.configuration.page_size
        for end in range(len(tokens) - node.length + page, len(tokens) + 1, page):
            yield namespace, tokens[:end]

    def _slots(self, pool: Pool, path: Path, start: int = 0) -> tuple[int, ...]:
        """The slots of ``path`` from its position ``start`` on."""
        namespace, tokens = path
        page = self.configuration.page_size
        ends = range(start + page, len(tokens) + 1, page)
        pages = [pool.owned[namespace, tokens[:end]] for end in ends]
        return tuple(p * page + i for p in pages for i in range(page))

    def _dressed_node(self, node: Node) -> Node:
        start = len(node.path.tokens) - node.length
        device = None if node.evicted else self._slots(self.device, node.path, start)
        host = self._slots(self.host, node.path, start) if node.backed_up else None
        return attrs.evolve(node, device=device, host=host)

    def _dressed_request(self, number: int, request: Request) -> Request:
        page = self.configuration.page_size
        held = Path(request.namespace, request.tokens[: request.protected])
        row = self._slots(self.device, held)
        for index in range(request.protected, request.computed):
            own = self.device.owned["request", number, index // page]
            row += (own * page + index % page,)
        return attrs.evolve(request, row=row)

    def _content(
        self, nodes: Iterable[Node | None], requests: dict[int, Request], tier: str
    ) -> Iterator[tuple[int, int]]:
        for node in filter(None, nodes):
            dressed = self._dressed_node(node)
            slots = getattr(dressed, tier) or ()
            yield from zip(slots, fingerprints(*node.path)[-node.length :], strict=False)
        for request in requests.values():
            due = fingerprints(request.namespace, request.tokens[: request.computed])
            yield from zip(request.row, due, strict=True)


class Factory:
    """Builds mimics with one mishap."""

    def __init__(self, mishap: Mishap) -> None:
        self.description = Description("mimic", RELEASE, "tests/verify/mimic.py", EVICTION_POLICIES)
        self.mishap = mishap

    def build(self, configuration: Configuration) -> Mimic:
        return Mimic(configuration, self.mishap)
