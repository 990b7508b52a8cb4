"""Is what the target shows what the model predicts? A quick answer, and a full explanation.

``QuickCompare`` answers yes or no in time proportional to what a step changed. ``explain`` says, in
the domain's words, where two complete states part, and which law that breaks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from operator import attrgetter
from typing import TypeAlias

import attrs

from hicache_model.fingerprint import fingerprints
from hicache_model.reference import Reference
from hicache_model.snapshot import Node, Path, Request, Slots, Snapshot
from hicache_model.tree import TreeNode

Bytes: TypeAlias = Sequence[int] | Mapping[int, int]


class QuickCompare:
    """Compares snapshot after snapshot of one run, remembering which nodes are known to agree."""

    def __init__(self, model: Reference) -> None:
        self.model = model
        self.agreed: dict[Path, Node] = {}
        self.content: tuple[Bytes, Bytes] = ((), ())
        self.owners: tuple[object, ...] = ()
        self.paged = model.page_size > 1

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
            and (not actual.complete or self._slots_add_up(actual))
        )

    def _totals_agree(self, actual: Snapshot) -> bool:
        model = self.model
        return (
            model.sizes() == (actual.evictable_size, actual.protected_size)
            and len(model.device_leaves()) == actual.device_leaf_count
            and len(model.host_leaves()) == actual.host_leaf_count
            and model.device_free() == len(actual.device_free) * model.page_size
            and model.host_free() == len(actual.host_free)
            and not actual.strays
        )

    def _holders_agree(self, actual: Snapshot) -> bool:
        model = self.model
        if (actual.transfers or model.in_flight()) and actual.transfers != model.transfers():
            return False
        if len(actual.requests) != len(model.requests) or (
            model.requests and actual.requests != model.request_views()
        ):
            return False
        pins = model.host_locks or model.load_pins
        if not (model.locks or pins or actual.locks or actual.host_locks):
            return True
        return (actual.locks, actual.host_locks) == model.held_paths()

    def _nodes_agree(self, actual: Snapshot) -> bool:
        by_path = self.model.tree.by_path
        if actual.complete and len(actual.nodes) != len(by_path):
            return False
        content = (actual.device_kv, actual.host_kv)
        same_content = actual.complete and content == self.content
        self.content = content if actual.complete else ((), ())
        moving = _moving(actual) if actual.transfers else ((), ())
        agreed = self.agreed
        for path, node in actual.nodes.items():
            known = agreed.get(path)
            if known is node and node is not None and same_content:
                continue
            expected = by_path.get(path)
            if expected is None or node is None:
                if expected is not None or node is not None:
                    return False
                continue
            if known is not node and not self._alike(expected, node):
                return False
            if not _holds_its_kv(node, content, moving):
                return False
            agreed[path] = node
        return not actual.complete or all(
            _row_holds_its_kv(request, content[0]) for request in actual.requests.values()
        )

    def _alike(self, expected: TreeNode, node: Node) -> bool:
        device_leaves, host_leaves = self.model.device_leaves(), self.model.host_leaves()
        return (
            expected.on_device == (node.device is not None)
            and expected.on_host == (node.host is not None)
            and expected.length == node.length
            and expected.lock_ref == node.lock_ref
            and expected.host_lock == node.host_lock
            and (expected in device_leaves) == node.in_device_leaves
            and (expected in host_leaves) == node.in_host_leaves
            and expected.hit_count == node.hit_count
            and expected.priority == node.priority
            and (node.device is None or len(node.device) == node.length)
            and (node.host is None or len(node.host) == node.length)
        )

    def _slots_add_up(self, actual: Snapshot) -> bool:
        """Free and owned slots are all slots, each once: conservation and ownership in one pass."""
        owners = (
            list(actual.nodes.values()),
            actual.device_free,
            actual.host_free,
            actual.requests,
            actual.transfers,
        )
        if owners == self.owners:
            return True
        self.owners = owners
        configuration, page = self.model.configuration, self.model.page_size
        device = list(actual.device_free)
        host = list(actual.host_free)
        for node in actual.nodes.values():
            assert node is not None
            if node.device is not None:
                device.extend(_as_pages(node.device, page) if self.paged else node.device)
            if node.host is not None:
                host.extend(node.host)
        for request in actual.requests.values():
            own = request.row[request.protected :]
            device.extend(_as_pages(own, page) if self.paged else own)
        return (
            len(device) == configuration.device_slots // page == len(set(device))
            and len(host) == configuration.host_slots == len(set(host))
            and (not device or (min(device) >= 1 and max(device) <= len(device)))
            and (not actual.transfers or _transfers_keep_their_slots(actual, page))
        )


def _as_pages(slots: Slots, page: int) -> set[int]:
    return {slot // page for slot in slots}


def _moving(actual: Snapshot) -> tuple[Slots, Slots]:
    """Slots on the device and on the host whose bytes are still on their way."""
    device = [s for t in actual.transfers if t.kind == "load" for s in t.device]
    host = [s for t in actual.transfers if t.kind == "write" for s in t.host]
    return tuple(device), tuple(host)


def _holds_its_kv(node: Node, content: tuple[Bytes, Bytes], moving: tuple[Slots, Slots]) -> bool:
    due = fingerprints(*node.path)[-node.length :]
    return _holds(node.device, due, content[0], moving[0]) and _holds(
        node.host, due, content[1], moving[1]
    )


def _holds(slots: Slots | None, due: Slots, content: Bytes, moving: Slots) -> bool:
    if slots is None:
        return True
    found = tuple([content[slot] for slot in slots])
    return found == due or all(
        value == wanted or slot in moving
        for slot, value, wanted in zip(slots, found, due, strict=False)
    )


def _row_holds_its_kv(request: Request, content: Bytes) -> bool:
    due = fingerprints(request.namespace, request.tokens[: request.computed])
    return all(
        content[slot] == value
        for slot, value in zip(
            request.row[request.protected :], due[request.protected :], strict=False
        )
    )


def _transfers_keep_their_slots(actual: Snapshot, page: int) -> bool:
    """The quick form of the law pinned-until-ack: each slot in flight has an owner on its path."""
    device_owner: dict[int, Path] = {}
    host_owner: dict[int, Path] = {}
    for path, node in actual.nodes.items():
        if node is None:
            continue
        device_owner.update(dict.fromkeys(node.device or (), path))
        host_owner.update(dict.fromkeys(node.host or (), path))
    for transfer in actual.transfers:
        ends = [anchor for anchor in transfer.anchors if anchor is not None]
        for slots, owners in ((transfer.device, device_owner), (transfer.host, host_owner)):
            for slot in slots:
                owner = owners.get(slot)
                if owner is None or not any(
                    owner.namespace == end.namespace
                    and end.tokens[: len(owner.tokens)] == owner.tokens
                    for end in ends
                ):
                    return False
    return True


# -- the explanation -------------------------------------------------------------------------------


@attrs.define(frozen=True, slots=True)
class Difference:
    """One way in which two states part: the law it breaks, a sentence, the nodes concerned."""

    law: str
    message: str
    paths: tuple[Path, ...] = ()


def explain(expected: Snapshot, actual: Snapshot) -> Iterator[Difference]:
    """Every difference between two complete snapshots: facts first, then what follows from them."""
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
        for path, mine, theirs in parted:
            due, found = getattr(mine, attribute), getattr(theirs, attribute)
            if due != found:
                yield Difference(law, words.format(path=path, due=due, found=found), (path,))
    yield from _explain_totals(expected, actual)
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


def _explain_totals(expected: Snapshot, actual: Snapshot) -> Iterator[Difference]:
    for law, name, due, found in (
        ("sizes", "evictable size", expected.evictable_size, actual.evictable_size),
        ("sizes", "protected size", expected.protected_size, actual.protected_size),
        ("device-leaves", "number of device leaves", *_pair(expected, actual, "device_leaf_count")),
        ("host-leaves", "number of host leaves", *_pair(expected, actual, "host_leaf_count")),
        (
            "conservation",
            "number of free device pages",
            len(expected.device_free),
            len(actual.device_free),
        ),
        (
            "conservation",
            "number of free host slots",
            len(expected.host_free),
            len(actual.host_free),
        ),
        ("transition", "transfers in flight", expected.transfers, actual.transfers),
        ("transition", "requests", dict(expected.requests), dict(actual.requests)),
        ("lock-balance", "locked nodes", expected.locks, actual.locks),
        ("lock-balance", "pinned nodes", expected.host_locks, actual.host_locks),
    ):
        if due != found:
            yield Difference(law, f"{name}: {found}, due {due}")


def _pair(expected: Snapshot, actual: Snapshot, attribute: str) -> tuple[int, int]:
    return getattr(expected, attribute), getattr(actual, attribute)


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
    return [node.path for node in sorted(nodes, key=lambda node: (clock(node), *_name(node)))]


def _name(node: Node) -> tuple[str, Slots]:
    return (node.path.namespace or "", node.path.tokens)
