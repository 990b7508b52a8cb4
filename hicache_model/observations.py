"""What a target may be unable to show of its state. It says so, and nothing is concluded from it.

The fields of a snapshot that are not observed hold their empty values, which mean nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import attrs

from hicache_model.snapshot import Node

LOCKS, PINS, LEAF_SETS, ORDER = "lock counts", "host pins", "leaf sets", "eviction order"
COMPONENT_HOST = "component host copies"
"""Where it is not shown, only the copies of what has no other value are, without their slots."""

OF_NODES: Mapping[str, tuple[str, ...]] = {
    LOCKS: ("lock_ref",),
    PINS: ("host_lock",),
    LEAF_SETS: ("in_device_leaves", "in_host_leaves"),
    ORDER: ("hit_count", "priority", "last_access", "creation", "reach"),
}
"""Fields of a Node by the observation that they need; every other field is always shown."""

OF_TOTALS: Mapping[str, tuple[str, ...]] = {
    PINS: ("host_locks",),
    LEAF_SETS: ("device_leaf_count", "host_leaf_count"),
}
"""The same of a Snapshot."""

OF_COMPONENTS: Mapping[str, tuple[str, ...]] = {
    LOCKS: ("lock_ref", "locks"),
    PINS: ("host_lock", "pins"),
    ORDER: ("lru", "host_lru"),
    COMPONENT_HOST: ("host",),
}
"""The same of a NodeComponent and a ComponentState."""


def hidden(table: Mapping[str, tuple[str, ...]], unobserved: Collection[str]) -> frozenset[str]:
    """The fields in ``table`` that are not observed."""
    return frozenset(field for name in unobserved for field in table.get(name, ()))


def shown_like(
    node: Node | None, expected: Node | None, unobserved: Collection[str]
) -> Node | None:
    """``node`` for a report: what it does not show is as expected, so that it does not differ."""
    if node is None or expected is None or not unobserved:
        return node
    return attrs.evolve(
        node, **{name: getattr(expected, name) for name in hidden(OF_NODES, unobserved)}
    )
