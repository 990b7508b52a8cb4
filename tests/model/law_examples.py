"""For every law a step that breaks it, made from a good one by the smallest change."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import attrs

from hicache_model import operations as ops
from hicache_model.configuration import Configuration
from hicache_model.fingerprint import fingerprints
from hicache_model.laws import Step
from hicache_model.outcomes import Evicted, Matched, OutOfMemory
from hicache_model.snapshot import Node, Path, Request, SavedRequest, Snapshot
from tests.verify.mimic import Mimic

WRITE_THROUGH = Configuration("write_through")
ONE, TWO, ONE_TWO = Path(None, (1,)), Path(None, (2,)), Path(None, (1, 2))
BACKED_UP = (ops.Insert((1,)), ops.CompleteWrites(1))
CHAIN = (*BACKED_UP, ops.Insert((1, 2)), ops.CompleteWrites(1))  # [1] above [1, 2]
PREFILLING = (*BACKED_UP, ops.BeginRequest(0, (1, 2, 3), 1))

Change = Callable[[Step], Step]


@attrs.frozen
class Example:
    """``breaks`` breaks ``law``, and also the laws that then cannot hold."""

    name: str
    law: str
    operations: tuple[ops.Operation, ...]
    breaks: Change
    also: tuple[str, ...] = ()
    configuration: Configuration = WRITE_THROUGH

    def good(self) -> Step:
        """The last of the operations, as the laws see it."""
        mimic = Mimic(self.configuration, lambda operation, mimic: None)
        for operation in self.operations[:-1]:
            mimic.perform(operation)
        before = mimic.observe()
        outcome = mimic.perform(self.operations[-1])
        after = _with_slots_in_transfers(mimic.observe())
        return Step(self.configuration, self.operations[-1], outcome, before, after)

    def broken(self) -> Step:
        return self.breaks(self.good())


def node(snapshot: Snapshot, path: Path) -> Node:
    found = snapshot.nodes[path]
    assert found is not None
    return found


def _with_slots_in_transfers(snapshot: Snapshot) -> Snapshot:
    """The mimic leaves out what a transfer copies: here, the nodes that it is for."""
    transfers = []
    for transfer in snapshot.transfers:
        nodes = [node(snapshot, anchor) for anchor in transfer.anchors if anchor is not None]
        device = tuple(slot for member in nodes for slot in member.device or ())
        host = tuple(slot for member in nodes for slot in member.host or ())
        transfers.append(attrs.evolve(transfer, device=device, host=host))
    return attrs.evolve(snapshot, transfers=tuple(transfers))


# -- changes ---------------------------------------------------------------------------------------


def after(**changes: Callable[[Snapshot], Any]) -> Change:
    """Each field of the snapshot afterwards becomes what its function makes of that snapshot."""

    def change(step: Step) -> Step:
        new = {name: make(step.after) for name, make in changes.items()}
        return attrs.evolve(step, after=attrs.evolve(step.after, **new))

    return change


def node_after(path: Path, **changes: Any) -> Change:
    return after(nodes=lambda s: {**s.nodes, path: attrs.evolve(node(s, path), **changes)})


def node_before(path: Path, **changes: Any) -> Change:
    def change(step: Step) -> Step:
        assert step.before is not None
        new = attrs.evolve(node(step.before, path), **changes)
        nodes = {**step.before.nodes, path: new}
        return attrs.evolve(step, before=attrs.evolve(step.before, nodes=nodes))

    return change


def request_after(**changes: Callable[[Request], Any]) -> Change:
    def changed(snapshot: Snapshot) -> dict[int, Request]:
        request = snapshot.requests[0]
        new = {name: make(request) for name, make in changes.items()}
        return {0: attrs.evolve(request, **new)}

    return after(requests=changed)


def transfer_after(**changes: Callable[[Snapshot], Any]) -> Change:
    def changed(snapshot: Snapshot) -> tuple[Any, ...]:
        new = {name: make(snapshot) for name, make in changes.items()}
        first, *others = snapshot.transfers
        return (attrs.evolve(first, **new), *others)

    return after(transfers=changed)


def answers(outcome: Any) -> Change:
    return lambda step: attrs.evolve(step, outcome=outcome)


def asks(operation: ops.Operation) -> Change:
    return lambda step: attrs.evolve(step, operation=operation)


def answers_with_slots_of(path: Path) -> Change:
    def change(step: Step) -> Step:
        slots = node(step.after, path).device or ()
        return attrs.evolve(step, outcome=Matched(len(slots), 0, slots))

    return change


def all_of(*changes: Change) -> Change:
    def change(step: Step) -> Step:
        for one in changes:
            step = one(step)
        return step

    return change


def loses_device_copy(path: Path) -> Change:
    """The node's device slots are free again."""
    return all_of(
        after(device_free=lambda s: (*s.device_free, *(node(s, path).device or ()))),
        node_after(path, device=None),
    )


def loses_host_copy(path: Path) -> Change:
    return all_of(
        after(host_free=lambda s: (*s.host_free, *(node(s, path).host or ()))),
        node_after(path, host=None),
    )


def other_content(field: str, path: Path) -> Change:
    """Something else lies in the first slot of the node."""
    tier = field.removesuffix("_kv")

    def changed(snapshot: Snapshot) -> dict[int, int]:
        content = getattr(snapshot, field)
        return {**content, getattr(node(snapshot, path), tier)[0]: 5}

    return after(**{field: changed})


def retracted(tokens: tuple[int, ...], slots: int, content: int | None = None) -> Change:
    """A request waits in so many slots of the host that were free; what lies in the first."""

    def host_kv(snapshot: Snapshot) -> dict[int, int]:
        due = fingerprints(None, tokens)
        there = dict(zip(snapshot.host_free, due, strict=False))
        if content is not None:
            there[snapshot.host_free[0]] = content
        return {**_mapping(snapshot.host_kv), **there}

    return after(
        host_kv=host_kv,
        retracted=lambda s: {0: SavedRequest(tokens, None, tuple(s.host_free[:slots]))},
        host_free=lambda s: s.host_free[slots:],
    )


# -- the examples ----------------------------------------------------------------------------------


def _kept_sets() -> Iterator[Example]:
    evicted = (*CHAIN, ops.EvictDevice(2))
    yield Example(
        "a parent in the host leaves while its child is backed up (#19212)",
        "host-leaves",
        evicted,
        node_after(ONE, in_host_leaves=True),
    )
    yield Example(
        "an evicted leaf that the host leaves forgot",
        "host-leaves",
        evicted,
        node_after(ONE_TWO, in_host_leaves=False),
    )
    yield Example(
        "a parent in the device leaves",
        "device-leaves",
        CHAIN,
        node_after(ONE, in_device_leaves=True),
    )
    yield Example(
        "a leaf that the device leaves forgot",
        "device-leaves",
        CHAIN,
        node_after(ONE_TWO, in_device_leaves=False),
    )
    yield Example(
        "one token too many", "sizes", CHAIN, after(evictable_size=lambda s: s.evictable_size + 1)
    )
    yield Example(
        "a lock that protects nothing",
        "sizes",
        (*CHAIN, ops.Lock((1,))),
        after(protected_size=lambda s: 0),
    )


def _tiers() -> Iterator[Example]:
    yield Example(
        "an evicted parent",
        "device-prefix-closed",
        (*CHAIN, ops.Match((3,))),
        all_of(
            loses_device_copy(ONE), after(evictable_size=lambda s: s.evictable_size - ONE_LENGTH)
        ),
    )
    yield Example(
        "a parent that is not backed up", "backup-prefix-closed", CHAIN, loses_host_copy(ONE)
    )
    yield Example(
        "a member of a leaf set outside the tree",
        "no-orphan",
        CHAIN,
        after(strays=lambda s: ("node 7",)),
    )
    yield Example(
        "a request whose anchor left the tree",
        "no-orphan",
        PREFILLING,
        request_after(anchor=lambda r: TWO),
        also=("lock-balance",),
    )
    yield Example(
        "a transfer whose node left the tree",
        "no-orphan",
        (ops.Insert((1,)),),
        transfer_after(anchors=lambda s: (None,)),
        also=("lock-balance", "pinned-until-ack"),
    )
    yield Example(
        "a node without a parent",
        "no-orphan",
        (*CHAIN, ops.Match((3,))),
        all_of(
            after(
                evictable_size=lambda s: s.evictable_size - ONE_LENGTH,
                device_free=lambda s: (*s.device_free, *(node(s, ONE).device or ())),
                host_free=lambda s: (*s.host_free, *(node(s, ONE).host or ())),
            ),
            after(nodes=lambda s: {p: n for p, n in s.nodes.items() if p != ONE}),
        ),
    )
    yield Example(
        "a node without a copy",
        "no-orphan",
        (*BACKED_UP, ops.EvictDevice(1)),
        loses_host_copy(ONE),
    )


ONE_LENGTH = len(ONE.tokens)


def _memory() -> Iterator[Example]:
    yield Example(
        "a device slot freed twice",
        "free-once",
        CHAIN,
        after(device_free=lambda s: (*s.device_free, s.device_free[0])),
    )
    yield Example(
        "a host slot freed twice",
        "free-once",
        CHAIN,
        after(host_free=lambda s: (*s.host_free, s.host_free[-1])),
    )
    yield Example(
        "a device slot of a node is free",
        "single-owner",
        CHAIN,
        after(device_free=lambda s: (*s.device_free, *(node(s, ONE).device or ()))),
    )
    yield Example(
        "a host slot of a node is free",
        "single-owner",
        CHAIN,
        after(host_free=lambda s: (*s.host_free, *(node(s, ONE).host or ()))),
    )
    yield Example(
        "a host slot of a retracted request is free",
        "single-owner",
        CHAIN,
        all_of(
            retracted((5,), 1),
            after(host_free=lambda s: (*s.host_free, *s.retracted[0].host)),
        ),
    )
    yield Example(
        "a request reads other slots than the tree's",
        "single-owner",
        (*BACKED_UP, ops.BeginRequest(0, (1, 2), 1)),
        request_after(row=lambda r: (r.row[0] + 1, *r.row[1:])),
    )
    yield Example(
        "a device slot that nobody has",
        "conservation",
        CHAIN,
        after(device_free=lambda s: s.device_free[1:]),
    )
    yield Example(
        "a host slot that does not exist",
        "conservation",
        CHAIN,
        after(host_free=lambda s: (*s.host_free, 99)),
    )
    yield Example(
        "a host copy shorter than its node",
        "lengths-agree",
        (ops.Insert((1, 2)), ops.CompleteWrites(1)),
        all_of(
            after(host_free=lambda s: (*s.host_free, *(node(s, ONE_TWO).host or ())[1:])),
            after(
                nodes=lambda s: {
                    ONE_TWO: attrs.evolve(node(s, ONE_TWO), host=(node(s, ONE_TWO).host or ())[:1])
                }
            ),
        ),
    )
    yield Example(
        "a retracted request with fewer host slots than tokens",
        "lengths-agree",
        CHAIN,
        retracted((5, 6), 1),
    )
    yield Example(
        "a request's row shorter than what it computed",
        "lengths-agree",
        PREFILLING,
        request_after(computed=lambda r: r.computed + 1),
    )


def _locks() -> Iterator[Example]:
    locked = (*BACKED_UP, ops.Lock((1,)))
    pinned = (*BACKED_UP, ops.LockHost((1,)))
    yield Example("a count without its holder", "lock-balance", locked, after(locks=lambda s: ()))
    yield Example(
        "a pin without its holder", "lock-balance", pinned, after(host_locks=lambda s: ())
    )
    yield Example(
        "a locked node leaves the device",
        "locked-stays",
        (*locked, ops.Match((3,))),
        loses_device_copy(ONE),
    )
    yield Example(
        "a pinned copy is gone",
        "locked-stays",
        (*pinned, ops.Match((3,))),
        loses_host_copy(ONE),
    )
    yield Example(
        "the host slots of a write are free before it is acknowledged",
        "pinned-until-ack",
        (ops.Insert((1,)),),
        transfer_after(host=lambda s: s.host_free[:1]),
    )
    yield Example(
        "the device slots of a write belong to another node",
        "pinned-until-ack",
        (ops.Insert((2,)), ops.CompleteWrites(1), ops.Insert((1,))),
        transfer_after(device=lambda s: node(s, TWO).device),
    )


def _content() -> Iterator[Example]:
    yield Example("stale device KV", "bytes", CHAIN, other_content("device_kv", ONE))
    yield Example("stale host KV", "bytes", CHAIN, other_content("host_kv", ONE))
    yield Example(
        "stale KV in a request's own row",
        "bytes",
        (ops.BeginRequest(0, (1, 2, 3), 1),),
        after(device_kv=lambda s: {**_content_of(s), s.requests[0].row[0]: 5}),
    )
    yield Example(
        "stale host KV of a retracted request", "bytes", CHAIN, retracted((5,), 1, content=7)
    )
    yield Example(
        "a forward pass reads other KV",
        "read-after-load",
        PREFILLING,
        after(requests=lambda s: {0: attrs.evolve(s.requests[0], read=(5,))}),
    )
    yield Example(
        "a forward pass reads other KV of a window",
        "read-after-load",
        PREFILLING,
        after(
            requests=lambda s: {
                0: attrs.evolve(s.requests[0], read=fingerprints(*ONE), component_read=(5,))
            }
        ),
    )
    yield Example(
        "a lookup answers what another namespace has",
        "namespace-isolation",
        (ops.Insert((1,), "a"), ops.Match((1,))),
        answers_with_slots_of(Path("a", (1,))),
        also=("longest-prefix",),
    )
    yield Example(
        "a lookup misses what is there",
        "longest-prefix",
        (*CHAIN, ops.Match((1, 2))),
        answers_with_slots_of(ONE),
    )


def _content_of(snapshot: Snapshot) -> dict[int, int]:
    return _mapping(snapshot.device_kv)


def _mapping(content: Any) -> dict[int, int]:
    assert isinstance(content, dict)
    return content


def _effects() -> Iterator[Example]:
    refused = (*BACKED_UP, ops.EvictDevice(1), ops.LoadBack((1,), quota=0))
    split = (ops.Insert((1, 2), priority=3), ops.CompleteWrites(1), ops.Match((1,)))
    two_leaves = (ops.Insert((1,)), ops.Insert((2,)), ops.CompleteWrites(2))
    yield Example(
        "a refused load back leaves a pin behind",
        "failed-step-changes-nothing",
        refused,
        all_of(node_after(ONE, host_lock=1), after(host_locks=lambda s: (ONE,))),
    )
    yield Example(
        "a refused load back leaves a transfer behind",
        "failed-step-changes-nothing",
        (ops.Insert((1,)), ops.LoadBack((1,))),
        after(transfers=lambda s: s.transfers * 2),
        also=("lock-balance",),
    )
    yield Example(
        "a load back takes more than it may",
        "within-quota",
        (*BACKED_UP, ops.EvictDevice(1), ops.LoadBack((1,), quota=1)),
        asks(ops.LoadBack((1,), quota=0)),
    )
    yield Example(
        "what a load back locks is not counted (#38481)",
        "within-quota",
        (*CHAIN, ops.EvictDevice(1), ops.LoadBack((1, 2), quota=2)),
        asks(ops.LoadBack((1, 2), quota=1)),
    )
    yield Example(
        "a new node that nobody backs up",
        "promised-backup",
        (ops.Insert((1,)),),
        all_of(
            node_after(ONE, host=None, lock_ref=0, in_device_leaves=True),
            after(
                transfers=lambda s: (),
                evictable_size=lambda s: 1,
                protected_size=lambda s: 0,
                device_leaf_count=lambda s: 1,
                host_free=lambda s: tuple(range(WRITE_THROUGH.host_slots)),
            ),
        ),
    )
    yield Example(
        "half of a split loses its priority", "split-neutral", split, node_after(ONE, priority=0)
    )
    yield Example(
        "a split swaps the slots of its halves",
        "split-neutral",
        split,
        lambda step: all_of(
            node_after(ONE, host=node(step.after, ONE_TWO).host),
            node_after(ONE_TWO, host=node(step.after, ONE).host),
        )(step),
        also=("bytes",),
    )
    yield Example(
        "an eviction that reports what it did not free",
        "progress",
        (*CHAIN, ops.EvictDevice(1)),
        answers(Evicted(2)),
    )
    yield Example(
        "an eviction that frees nothing although it could",
        "progress",
        (*CHAIN, ops.Match((1, 2))),
        lambda step: attrs.evolve(step, operation=ops.EvictDevice(1), outcome=Evicted(0)),
    )
    yield Example(
        "an allocation that fails",
        "progress",
        (*BACKED_UP, ops.BeginRequest(0, (1, 2), 2)),
        answers(OutOfMemory(1)),
    )
    yield Example(
        "not the least recently used leaf leaves the device",
        "policy-order",
        (*two_leaves, ops.EvictDevice(1)),
        node_before(ONE, last_access=99),
    )
    yield Example(
        "not the least recently used leaf leaves the host",
        "policy-order",
        (*two_leaves, ops.EvictDevice(2), ops.EvictHost(1)),
        node_before(ONE, last_access=99),
    )
    yield Example(
        "a leaf set that a reset forgets",
        "reset-is-new",
        (*CHAIN, ops.Reset()),
        after(host_leaf_count=lambda s: 1),
    )


EXAMPLES = (*_kept_sets(), *_tiers(), *_memory(), *_locks(), *_content(), *_effects())
