"""Is what the target shows what the model predicts? A quick answer, and a full explanation.

``QuickCompare`` answers yes or no in time proportional to what a step changed. ``explain`` says, in
the domain's words, where two complete states part, and which law that breaks.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from operator import attrgetter
from typing import TypeAlias

from hicache_model.fingerprint import fingerprints
from hicache_model.observations import (
    LEAF_SETS,
    LOCKS,
    OF_NODES,
    OF_TOTALS,
    ORDER,
    PINS,
    hidden,
)
from hicache_model.reference import Reference
from hicache_model.snapshot import Node, Path, Request, SavedRequest, Slots, Snapshot
from hicache_model.tree import TreeNode
from hicache_verify.compare_components import QuickComponent, explain_components
from hicache_verify.difference import Difference, Values, explain_values, itself

Bytes: TypeAlias = Sequence[int] | Mapping[int, int]
Contents: TypeAlias = tuple[Bytes, Bytes]
Moving: TypeAlias = tuple[Collection[int], Collection[int]]

_UNKNOWN: tuple[None, Slots] = (None, ())
_NOTHING: tuple[Slots, Slots] = ((), ())


class QuickCompare:
    """Compares snapshot after snapshot of one run, remembering which nodes are known to agree."""

    def __init__(self, model: Reference, unobserved: Collection[str] = ()) -> None:
        self.model = model
        self.sees_locks, self.sees_pins = LOCKS not in unobserved, PINS not in unobserved
        self.sees_leaves, self.sees_order = LEAF_SETS not in unobserved, ORDER not in unobserved
        self.agreed: dict[Path, tuple[Node, Slots]] = {}  # with the KV that is due to it
        self.content: Contents = _NOTHING
        self.component = (
            QuickComponent(model, unobserved) if model.configuration.component != "full" else None
        )
        pools = model.configuration
        self.device_pages = list(range(1, 1 + pools.device_slots // model.page_size))
        self.host_slots = list(range(pools.host_slots))

    def looks_equal(
        self, actual: Snapshot, stale: Iterable[TreeNode], gone: Iterable[Path]
    ) -> bool:
        """False when anything differs from the prediction, or slots and bytes break their laws.

        ``stale`` and ``gone`` are what ``Reference.take_stale`` gave for the operations since the
        last call. Slots are checked as a whole only in a complete snapshot.
        """
        agreed = self.agreed
        for node in stale:
            agreed.pop(node.path, None)
        for path in gone:
            agreed.pop(path, None)
        return (
            self._totals_agree(actual)
            and self._holders_agree(actual)
            and self._nodes_agree(actual)
            and (self.component is None or self.component.looks_equal(actual))
            and (not actual.complete or self._slots_add_up(actual))
        )

    def _totals_agree(self, actual: Snapshot) -> bool:
        due = self.model.totals()
        leaves = (
            (actual.device_leaf_count, actual.host_leaf_count) if self.sees_leaves else due[2:4]
        )
        shown = (
            actual.evictable_size,
            actual.protected_size,
            *leaves,
            len(actual.device_free) * self.model.page_size,
            len(actual.host_free),
        )
        return shown == due and not actual.strays

    def _holders_agree(self, actual: Snapshot) -> bool:
        model = self.model
        if (actual.transfers or model.in_flight()) and actual.transfers != model.transfers():
            return False
        if (actual.retracted or model.retracted) and actual.retracted != model.retracted_views():
            return False
        if (actual.requests or model.requests) and actual.requests != model.request_views():
            return False
        if not all(map(_read_its_prefix, actual.requests.values())):
            return False
        pins = model.host_locks or model.load_pins
        if not (model.locks or pins or actual.locks or actual.host_locks):
            return True
        locks, pinned = model.held_paths()
        return actual.locks == locks and (actual.host_locks == pinned or not self.sees_pins)

    def _nodes_agree(self, actual: Snapshot) -> bool:
        by_path = self.model.tree.by_path
        if actual.complete and len(actual.nodes) != len(by_path):
            return False
        content, before = (actual.device_kv, actual.host_kv), self.content
        same = [
            actual.complete and (now is old or now == old)
            for now, old in zip(content, before, strict=True)
        ]
        self.content = content if actual.complete else _NOTHING
        moving = (actual.moving("device"), actual.moving("host")) if actual.transfers else _NOTHING
        unwritten = same[0] and same[1]
        for path, node in actual.nodes.items():
            known, due = self.agreed.get(path, _UNKNOWN)
            if node is None or known is not node:
                fine = self._node_agrees(path, node, content, moving)
            else:
                fine = unwritten or _holds_its_kv(node, due, content, moving, *same)
            if not fine:
                return False
        if not actual.complete or not (actual.requests or actual.retracted):
            return True
        return all(
            _row_holds_its_kv(request, content[0]) for request in actual.requests.values()
        ) and all(_is_saved(saved, content[1]) for saved in actual.retracted.values())

    def _node_agrees(
        self, path: Path, node: Node | None, content: Contents, moving: Moving
    ) -> bool:
        """Of a node that is new or looks different from before."""
        expected = self.model.tree.by_path.get(path)
        if expected is None or node is None:
            return expected is None and node is None
        due = fingerprints(*path)[-node.length :]
        if not self._alike(expected, node) or not _holds_its_kv(node, due, content, moving):
            return False
        self.agreed[path] = node, due
        return True

    def _alike(self, expected: TreeNode, node: Node) -> bool:
        device_leaves, host_leaves = self.model.device_leaves(), self.model.host_leaves()
        return (
            expected.on_device == (node.device is not None)
            and expected.on_host == (node.host is not None)
            and expected.length == node.length
            and (expected.lock_ref == node.lock_ref or not self.sees_locks)
            and (expected.host_lock == node.host_lock or not self.sees_pins)
            and ((expected in device_leaves) == node.in_device_leaves or not self.sees_leaves)
            and ((expected in host_leaves) == node.in_host_leaves or not self.sees_leaves)
            and (expected.hit_count == node.hit_count or not self.sees_order)
            and (expected.priority == node.priority or not self.sees_order)
            and (node.device is None or len(node.device) == node.length)
            and (node.host is None or len(node.host) == node.length)
        )

    def _slots_add_up(self, actual: Snapshot) -> bool:
        """Free and owned slots are all slots, each once: conservation and ownership in one pass."""
        page = self.model.page_size
        device, host = list(actual.device_free), list(actual.host_free)
        for node in actual.nodes.values():
            assert node is not None
            if node.device is not None:
                device += node.device if page == 1 else _as_pages(node.device, page)
            if node.host is not None:
                host += node.host
        for request in actual.requests.values():
            own = request.row[request.protected :]
            device += own if page == 1 else _as_pages(own, page)
        for saved in actual.retracted.values():
            host += saved.host
        device.sort()
        host.sort()
        return (
            device == self.device_pages
            and host == self.host_slots
            and (not actual.transfers or self._transfers_keep_their_slots(actual))
        )

    def _transfers_keep_their_slots(self, actual: Snapshot) -> bool:
        """The quick form of the law pinned-until-ack: each slot in flight has an owner on its path.

        The tree and the anchors are known to be as predicted.
        """
        by_path = self.model.tree.by_path
        for transfer in actual.transfers:
            device: set[int] = set()
            host: set[int] = set()
            for anchor in transfer.anchors:
                expected = by_path.get(anchor) if anchor is not None else None
                while expected is not None and expected.parent is not None:
                    node = actual.nodes[expected.path]
                    assert node is not None
                    device.update(node.device or ())
                    host.update(node.host or ())
                    expected = expected.parent
            if not (device.issuperset(transfer.device) and host.issuperset(transfer.host)):
                return False
        return True


def _as_pages(slots: Slots, page: int) -> set[int]:
    return {slot // page for slot in slots}


def _holds_its_kv(
    node: Node,
    due: Slots,
    content: Contents,
    moving: Moving,
    same_device: bool = False,
    same_host: bool = False,
) -> bool:
    """Whether both tiers hold the bytes of the node, or those that changed since they did."""
    return (same_device or _holds(node.device, due, content[0], moving[0])) and (
        same_host or _holds(node.host, due, content[1], moving[1])
    )


def _holds(slots: Slots | None, due: Slots, content: Bytes, moving: Collection[int]) -> bool:
    if slots is None or tuple(map(content.__getitem__, slots)) == due:
        return True
    return all(
        content[slot] == wanted or slot in moving for slot, wanted in zip(slots, due, strict=False)
    )


def _row_holds_its_kv(request: Request, content: Bytes) -> bool:
    """What a request computed beyond the tree's part; it has as many slots as it has computed."""
    own = request.row[request.protected :]
    if not own:
        return request.protected == request.computed
    due = fingerprints(request.namespace, request.tokens)[request.protected : request.computed]
    return tuple(map(content.__getitem__, own)) == due


def _is_saved(saved: SavedRequest, content: Bytes) -> bool:
    """The host has all of a retracted request's KV; the last page may be longer."""
    due = fingerprints(saved.namespace, saved.tokens)
    return tuple(map(content.__getitem__, saved.host[: len(due)])) == due


def _read_its_prefix(request: Request) -> bool:
    """The quick form of the law read-after-load."""
    read, window = request.read, request.component_read
    if not read:
        return True
    due = fingerprints(request.namespace, request.tokens)[: len(read)]
    return read == due and window == due[len(due) - len(window) :]


# -- the explanation -------------------------------------------------------------------------------


def explain(
    expected: Snapshot, actual: Snapshot, unobserved: Collection[str] = ()
) -> Iterator[Difference]:
    """Every difference between two complete snapshots: facts first, then what follows from them.

    What the target does not show, it does not differ in.
    """
    unseen = hidden(OF_NODES, unobserved)
    both = [
        (path, expected.nodes[path], actual.nodes[path])
        for path in expected.nodes
        if path in actual.nodes
    ]
    parted = [pair for pair in both if _facts(pair[1]) != _facts(pair[2])]
    for path in expected.nodes.keys() - actual.nodes.keys():
        yield Difference("transition", f"node {path} should be in the tree, and is not", (path,))
    for path in actual.nodes.keys() - expected.nodes.keys():
        yield Difference("transition", f"node {path} is in the tree, and should not be", (path,))
    for attribute, law, words in _NODE_FIELDS:
        if attribute in unseen:
            continue
        for path, mine, theirs in parted:
            due, found = getattr(mine, attribute), getattr(theirs, attribute)
            if due != found:
                yield Difference(law, words.format(path=path, due=due, found=found), (path,))
    yield from explain_components(expected, actual, both, unobserved)
    yield from explain_values(_TOTALS, expected, actual, hidden(OF_TOTALS, unobserved))
    if ORDER not in unobserved:
        yield from _explain_order(expected, actual)


_NODE_FIELDS = (
    ("evicted", "transition", "node {path}: evicted is {found}, due {due}"),
    ("backed_up", "transition", "node {path}: backed up is {found}, due {due}"),
    ("length", "transition", "node {path}: its own length is {found}, due {due}"),
    (
        "in_host_leaves",
        "host-leaves",
        "node {path}: in evictable_host_leaves is {found}, due {due}",
    ),
    (
        "in_device_leaves",
        "device-leaves",
        "node {path}: in the device leaves is {found}, due {due}",
    ),
    ("lock_ref", "lock-balance", "node {path}: lock_ref is {found}, due {due}"),
    ("host_lock", "lock-balance", "node {path}: host pins are {found}, due {due}"),
    ("hit_count", "policy-order", "node {path}: hit_count is {found}, due {due}"),
    ("priority", "policy-order", "node {path}: priority is {found}, due {due}"),
)
_facts = attrgetter(*(name for name, _, _ in _NODE_FIELDS))


_TOTALS: Values = (
    ("evictable_size", "sizes", "evictable size", itself),
    ("protected_size", "sizes", "protected size", itself),
    ("device_leaf_count", "device-leaves", "number of device leaves", itself),
    ("host_leaf_count", "host-leaves", "number of host leaves", itself),
    ("device_free", "conservation", "number of free device pages", len),
    ("host_free", "conservation", "number of free host slots", len),
    ("transfers", "transition", "transfers in flight", itself),
    ("requests", "transition", "requests", dict),
    ("retracted", "transition", "requests that wait on the host", dict),
    ("locks", "lock-balance", "locked nodes", itself),
    ("host_locks", "lock-balance", "pinned nodes", itself),
)


def _explain_order(expected: Snapshot, actual: Snapshot) -> Iterator[Difference]:
    for attribute, words in (("last_access", "last accessed"), ("creation", "created")):
        due, found = by_time(expected, attribute), by_time(actual, attribute)
        if due != found and set(due) == set(found):
            first = next(i for i, (a, b) in enumerate(zip(due, found, strict=True)) if a != b)
            yield Difference(
                "policy-order",
                f"oldest {words} first, place {first} is node {found[first]}, due {due[first]}",
                (due[first], found[first]),
            )


def by_time(snapshot: Snapshot, attribute: str) -> list[Path]:
    """The nodes in the order of one of their clocks, oldest first."""
    nodes = [node for node in snapshot.nodes.values() if node is not None]
    clock = attrgetter(attribute)
    return [node.path for node in sorted(nodes, key=lambda node: (clock(node), *node.path.order()))]
