"""As compare.py, for a component beside full attention: a quick answer, and an explanation."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import Any

from hicache_model.fingerprint import fingerprints
from hicache_model.laws import pages_of
from hicache_model.laws.component_values import keeps_its_state
from hicache_model.observations import OF_COMPONENTS, hidden
from hicache_model.reference import Reference
from hicache_model.snapshot import ComponentState, Node, NodeComponent, Path, Snapshot
from hicache_verify.difference import Difference, Values, explain_values, itself


class QuickComponent:
    """Whether the component's part of a snapshot is as predicted, and its slots and bytes right.

    Everything is looked at: the trees of such configurations are small.
    """

    def __init__(self, model: Reference, unobserved: Collection[str]) -> None:
        self.model = model
        self.unseen = hidden(OF_COMPONENTS, unobserved)
        pools = model.configuration
        self.weight = pools.component_weight
        self.has_states = pools.component == "mamba"
        self.device_pages = list(range(1, 1 + pools.component_slots // pools.component_page))
        self.host_slots = list(range(pools.component_host_slots))

    def looks_equal(self, actual: Snapshot) -> bool:
        state, due = actual.component, self.model.component.state()
        if state is None or due is None:
            return False
        if any(explain_values(_STATE, due, state, self.unseen)):
            return False
        nodes = [node for node in actual.nodes.values() if node is not None]
        by_path = self.model.tree.by_path
        return all(
            _alike(self.model.component.view(by_path[node.path]), node, self.unseen)
            and (not state.mapping or _maps(node, state))
            and _holds_its_kv(node, self.weight(node.length), state, actual, self.unseen)
            for node in nodes
        ) and (not actual.complete or self._slots_add_up(actual, nodes, state))

    def _slots_add_up(self, actual: Snapshot, nodes: Iterable[Node], state: ComponentState) -> bool:
        page = self.model.configuration.component_page
        device, host = list(state.device_free), list(state.host_free)
        for node in nodes:
            assert node.component is not None
            device += pages_of(node.component.device or (), page)
            host += node.component.host or ()
        for request in actual.requests.values():
            device += pages_of(request.component_row, page)
            start, end = request.component_start, request.computed
            due = fingerprints(request.namespace, request.tokens)[start:end]
            row = request.component_row
            computes_in = row[:1] if self.has_states else row
            if tuple(state.device_kv[slot] for slot in computes_in) != due:
                return False
            if not keeps_its_state(request, state):
                return False
        hosts_add_up = "host" in self.unseen or sorted(host) == self.host_slots
        return sorted(device) == self.device_pages and hosts_add_up


def _alike(due: NodeComponent | None, node: Node, unseen: Collection[str]) -> bool:
    shown = node.component
    return due is not None and shown is not None and _facts(due, unseen) == _facts(shown, unseen)


def _facts(shown: NodeComponent, unseen: Collection[str]) -> tuple[Any, ...]:
    """Those that are compared; a host copy beside another value may not be shown."""
    host = shown.host is not None and not ("host" in unseen and shown.device is not None)
    return (
        shown.device is not None,
        host,
        0 if "lock_ref" in unseen else shown.lock_ref,
        0 if "host_lock" in unseen else shown.host_lock,
    )


def _maps(node: Node, state: ComponentState) -> bool:
    assert node.component is not None
    if node.device is None:
        return True
    due = node.component.device or (0,) * node.length
    return tuple(state.mapping[slot] for slot in node.device) == due


def _holds_its_kv(
    node: Node, weight: int, state: ComponentState, actual: Snapshot, unseen: Collection[str]
) -> bool:
    own = node.component
    assert own is not None
    due = fingerprints(*node.path)[-weight:]
    return all(
        slots is None
        or (
            len(slots) == weight
            and all(
                kv[slot] == wanted or slot in on_its_way
                for slot, wanted in zip(slots, due, strict=True)
            )
        )
        for slots, kv, on_its_way in (
            (own.device, state.device_kv, actual.moving("device", of_component=True)),
            (
                None if "host" in unseen else own.host,
                state.host_kv,
                actual.moving("host", of_component=True),
            ),
        )
    )


_STATE: Values = (
    ("evictable_size", "sizes", "evictable size of the component", itself),
    ("protected_size", "sizes", "protected size of the component", itself),
    ("device_free", "conservation", "number of free device pages of the component", len),
    ("host_free", "conservation", "number of free host slots of the component", len),
    ("locks", "lock-balance", "what the holders of the component hold", itself),
    ("pins", "lock-balance", "what pins of the component hold", itself),
    ("lru", "component-lru", "LRU list of the component", itself),
    ("host_lru", "component-lru", "LRU list of the component on the host", itself),
)


_NODE = (
    ("transition", "value on the device"),
    ("transition", "value on the host"),
    ("lock-balance", "lock_ref"),
    ("lock-balance", "host pins"),
)
"""What ``_facts`` gives, in its order."""


def explain_components(
    expected: Snapshot,
    actual: Snapshot,
    both: Iterable[tuple[Path, Node | None, Node | None]],
    unobserved: Collection[str],
) -> Iterator[Difference]:
    """Every difference between the component's parts of two complete snapshots."""
    if expected.component is None or actual.component is None:
        return
    unseen = hidden(OF_COMPONENTS, unobserved)
    for path, mine, theirs in both:
        if mine is None or theirs is None or mine.component is None or theirs.component is None:
            continue
        facts = zip(_facts(mine.component, unseen), _facts(theirs.component, unseen), strict=True)
        for (due, found), (law, words) in zip(facts, _NODE, strict=True):
            if due != found:
                text = f"node {path}: the component's {words} is {found}, due {due}"
                yield Difference(law, text, (path,))
    yield from explain_values(_STATE, expected.component, actual.component, unseen, _text)


def _text(value: Any) -> str:
    if not isinstance(value, tuple):
        return str(value)
    return (
        "["
        + "; ".join(
            f"{one[0]} from {one[1]}" if not isinstance(one, Path) else str(one) for one in value
        )
        + "]"
    )
