"""A release in a child process, driven by operations, for the tests of the target.

A process holds one release; the child lives as long as the test session and builds a fresh cache
for each script. After every operation it reports the outcome and the state in a short form, counted
in pages, so that one expectation serves every page size:

    nodes   {"1 2": "device host lock=1 hits=1 D"}: path in pages; ``?`` behind a tier whose bytes
            are not the prefix's; D and H for membership in the two kept leaf sets
    faults  what must never be: a remembered observation that is not the fresh one, observe_at that
            tells something else, slots lost or owned twice
"""

from __future__ import annotations

import atexit
import functools
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import attrs
import pytest

from hicache_impl.sglang.releases import ALWAYS, KNOWN, Range
from hicache_model import operations as ops
from hicache_model import outcomes
from hicache_model.configuration import Configuration
from hicache_model.fingerprint import fingerprints
from hicache_model.snapshot import Node, Path, SavedRequest, Snapshot
from tests.processes import ROOT

FAST = ("0.5.10.post1", "0.5.18")


# -- what the tests use ----------------------------------------------------------------------------


@attrs.frozen
class Raised:
    """What the target raised instead of answering."""

    kind: str
    text: str


@attrs.frozen
class Step:
    """One operation's outcome, and the state after it."""

    outcome: Any
    state: dict[str, Any]

    @property
    def nodes(self) -> dict[str, str]:
        nodes: dict[str, str] = self.state["nodes"]
        return nodes

    def __getitem__(self, name: str) -> Any:
        return self.state[name]


def run(
    version: str, configuration: Configuration, *script: ops.Operation, cache: str = "hiradix"
) -> list[Step]:
    """Each operation's step on a fresh cache. Fails the test when a state is at fault."""
    steps = run_anyway(version, configuration, *script, cache=cache)
    faults = {i: step["faults"] for i, step in enumerate(steps) if step["faults"]}
    assert not faults, f"after operation {faults}"
    return steps


def run_anyway(
    version: str, configuration: Configuration, *script: ops.Operation, cache: str = "hiradix"
) -> list[Step]:
    """As ``run``, for scripts that show a defect of the release."""
    request = {
        "configuration": attrs.asdict(configuration),
        "operations": [ops.codec.encode(operation) for operation in script],
    }
    child = _child(version, cache)
    child.stdin.write(json.dumps(request) + "\n")
    child.stdin.flush()
    answer = json.loads(child.stdout.readline())
    return [Step(_outcome(data["outcome"]), data["state"]) for data in answer]


def releases(among: Range = ALWAYS) -> list[Any]:
    """Test parameters: every release ``among`` these, those that are not FAST marked slow."""
    known = [version for version in KNOWN if version in among]
    return [v if v in FAST else pytest.param(v, marks=pytest.mark.slow) for v in known]


def pages(size: int, *numbers: int) -> tuple[int, ...]:
    """The tokens of these pages; page 3 of size 4 is 12, 13, 14, 15."""
    return tuple(number * size + i for number in numbers for i in range(size))


def sizes(size: int, device: int = 8, host: int = 12, **changes: Any) -> Configuration:
    """A configuration whose pools hold this many pages."""
    return Configuration(
        page_size=size, device_slots=device * size, host_slots=host * size, **changes
    )


def _outcome(data: dict[str, Any]) -> Any:
    if "raised" in data:
        return Raised(data["raised"], data["text"])
    return outcomes.codec.decode(data)


@functools.cache
def _child(version: str, cache: str) -> Any:
    from hicache_impl.sglang import fetch
    from hicache_impl.sglang.errors import Offline

    try:
        fetch.unpacked(version)
    except Offline as offline:
        pytest.skip(str(offline))
    child = subprocess.Popen(
        [sys.executable, __file__, version, cache],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    atexit.register(child.communicate)  # closes its input, which ends it
    return child


# -- the child -------------------------------------------------------------------------------------


class Reporter:
    """The state of a target in the short form."""

    def __init__(self, target: Any) -> None:
        self.target = target
        self.page = target.configuration.page_size

    def report(self) -> dict[str, Any]:
        seen = self.target.observe()
        return {
            "nodes": {self.path(p): self.node(n, seen) for p, n in seen.nodes.items()},
            "evictable": seen.evictable_size // self.page,
            "protected": seen.protected_size // self.page,
            "leaves": (seen.device_leaf_count, seen.host_leaf_count),
            "device free": len(seen.device_free),
            "host free": len(seen.host_free) // self.page,
            "device slots": {self.path(p): n.device for p, n in seen.nodes.items()},
            "host slots": {self.path(p): n.host for p, n in seen.nodes.items()},
            "ticks": {self.path(p): n.last_access for p, n in seen.nodes.items()},
            "transfers": [self.transfer(t) for t in seen.transfers],
            "requests": {str(k): self.request(r, seen) for k, r in seen.requests.items()},
            "retracted": {str(k): self.saved(r, seen) for k, r in seen.retracted.items()},
            "locks": [self.path(p) for p in seen.locks],
            "host locks": [self.path(p) for p in seen.host_locks],
            "strays": list(seen.strays),
            "faults": list(self.faults(seen)),
        }

    def path(self, path: Path | None) -> str:
        if path is None:
            return "gone"
        name = " ".join(str(token // self.page) for token in path.tokens[:: self.page])
        return name if path.namespace is None else f"{path.namespace}:{name}"

    def node(self, node: Node, seen: Snapshot) -> str:
        due = fingerprints(*node.path)[-node.length :]
        words = []
        for tier, slots, content in (
            ("device", node.device, seen.device_kv),
            ("host", node.host, seen.host_kv),
        ):
            if slots is not None:
                words.append(tier if tuple(content[s] for s in slots) == due else f"{tier}?")
        counted = {
            "lock": node.lock_ref,
            "pin": node.host_lock,
            "hits": node.hit_count,
            "priority": node.priority,
        }
        words += [f"{name}={count}" for name, count in counted.items() if count]
        words += ["D"] * node.in_device_leaves + ["H"] * node.in_host_leaves
        return " ".join(words)

    def transfer(self, transfer: Any) -> str:
        kind = transfer.kind if transfer.started else f"queued {transfer.kind}"
        anchors = ", ".join(self.path(anchor) for anchor in transfer.anchors)
        moved = len(transfer.device) // self.page
        assert len(transfer.device) == len(transfer.host)
        return f"{kind} of {moved}: {anchors}"

    def request(self, request: Any, seen: Snapshot) -> str:
        due = fingerprints(request.namespace, request.tokens)[: request.computed]
        found = tuple(seen.device_kv[slot] for slot in request.row)
        words = [f"{request.computed} of {len(request.tokens)}", f"protected {request.protected}"]
        if request.anchor is not None:
            words.append(f"at {self.path(request.anchor)}")
        if found != due:
            words.append("wrong bytes")
        return ", ".join(words)

    def saved(self, saved: SavedRequest, seen: Snapshot) -> str:
        due = fingerprints(saved.namespace, saved.tokens)
        found = tuple(seen.host_kv[slot] for slot in saved.host[: len(due)])
        return f"{len(saved.tokens)} in {len(saved.host) // self.page}" + (
            "" if found == due else ", wrong bytes"
        )

    def faults(self, seen: Snapshot) -> Iterator[str]:
        if _fields(self.target.observe(fresh=True)) != _fields(seen):
            yield "a fresh observation differs from the remembered one"
        yield from self._partial_faults(seen)
        yield from self._ownership_faults(seen)

    def _partial_faults(self, seen: Snapshot) -> Iterator[str]:
        absent = Path("nowhere", (1,) * self.page)
        part = self.target.observe_at([*seen.nodes, absent])
        if part.complete or part.nodes != {**seen.nodes, absent: None}:
            yield "observe_at shows other nodes than observe"
        free = ("device_free", "host_free")
        whole_only = ("nodes", "device_kv", "host_kv", "complete", "strays", *free)
        if _fields(part, *whole_only) != _fields(seen, *whole_only):
            yield "observe_at shows other totals than observe"
        if any(len(getattr(part, name)) != len(getattr(seen, name)) for name in free):
            yield "observe_at shows other numbers of free slots than observe"
        for mine, whole in ((part.device_kv, seen.device_kv), (part.host_kv, seen.host_kv)):
            if any(whole[slot] != content for slot, content in mine.items()):
                yield "observe_at shows other contents than observe"

    def _ownership_faults(self, seen: Snapshot) -> Iterator[str]:
        nodes = [node for node in seen.nodes.values() if node]
        own = [r.row[r.protected :] for r in seen.requests.values()]
        owned = [*self._pages(n.device for n in nodes), *self._pages(own)]
        first, count = 1, self.target.configuration.device_slots // self.page
        if sorted([*seen.device_free, *owned]) != list(range(first, first + count)):
            yield f"device pages {_doubtful(Counter([*seen.device_free, *owned]), first, count)}"
        host = [slot for n in nodes for slot in n.host or ()]
        host += [slot for saved in seen.retracted.values() for slot in saved.host]
        if sorted([*seen.host_free, *host]) != list(range(self.target.configuration.host_slots)):
            yield "a host slot is lost or has two owners"

    def _pages(self, owners: Iterable[Sequence[int] | None]) -> list[int]:
        """Page numbers, each once for each owner."""
        return [page for slots in owners for page in {slot // self.page for slot in slots or ()}]


def _fields(snapshot: Snapshot, *left_out: str) -> dict[str, str]:
    """With what takes no part in equality, and mappings in one order."""
    fields = {name: getattr(snapshot, name) for name in attrs.fields_dict(Snapshot)}
    return {
        name: repr(sorted(value.items(), key=repr) if isinstance(value, dict) else value)
        for name, value in fields.items()
        if name not in left_out
    }


def _doubtful(owners: Counter[int], first: int, count: int) -> dict[int, int]:
    return {page: owners[page] for page in range(first, first + count) if owners[page] != 1}


def _answer(target: Any, operation: ops.Operation) -> dict[str, Any]:
    try:
        return outcomes.codec.encode(target.perform(operation))
    except Exception as error:  # noqa: BLE001 - whatever the cache raises is the answer
        return {"raised": type(error).__name__, "text": str(error)}


def _factory(version: str, cache: str) -> Any:
    from hicache_impl.sglang.hiradix import HiRadixFactory
    from hicache_impl.sglang.loader import load
    from hicache_impl.sglang.source import Release
    from hicache_impl.sglang.unified.target import UnifiedFactory

    loaded = load(Release(version), cache="hiradix" if cache == "hiradix" else "unified")
    if cache == "unified-rust":
        return UnifiedFactory(loaded, "rust")
    return UnifiedFactory(loaded) if cache == "unified" else HiRadixFactory(loaded)


def _serve(version: str, cache: str) -> None:
    factory = _factory(version, cache)
    for line in sys.stdin:
        request = json.loads(line)
        target = factory.build(Configuration(**request["configuration"]))
        reporter = Reporter(target)
        steps = [
            {"outcome": _answer(target, ops.codec.decode(data)), "state": reporter.report()}
            for data in request["operations"]
        ]
        print(json.dumps(steps), flush=True)  # noqa: T201 - the child's answer


if __name__ == "__main__":
    _serve(sys.argv[1], sys.argv[2])
