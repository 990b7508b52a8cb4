"""What both sides show of their state: nodes named by their prefix, never by a counter or an
address.

The reference fills in everything except slots and bytes, which are the cache's own choice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING, NamedTuple

import attrs

from hicache_model.keys import Keys, tokens_of

if TYPE_CHECKING:
    from attrs import frozen
else:  # a type checker forbids changes; to forbid them at run time too makes each twice as dear
    frozen = partial(attrs.define, unsafe_hash=True)

Slots = tuple[int, ...]


class Path(NamedTuple):
    """A node's name: its namespace and all tokens from the root to its end.

    Where a cache has keys of pairs, ``tokens`` are the pairs (keys.py); as a text they are tokens.
    """

    namespace: str | None
    tokens: Keys

    def __str__(self) -> str:
        text = f"[{', '.join(map(str, tokens_of(self.tokens)))}]"
        return text if self.namespace is None else f"{self.namespace}:{text}"

    def order(self) -> tuple[str, tuple[int, ...]]:
        """The key by which paths are sorted: a namespace may be None."""
        return self.namespace or "", self.tokens


@frozen
class NodeComponent:
    """What a component other than full attention has of a node; fields as those of ``Node``.

    A node on the device whose ``device`` here is None is a tombstone.
    """

    device: Slots | None
    host: Slots | None
    lock_ref: int
    host_lock: int


@frozen
class Node:
    """One tree node.

    ``length`` is the number of tokens on its own edge. ``device`` and ``host`` are its slots in
    each tier, None where it is not. ``host_lock`` counts pins of the host copy.
    ``in_device_leaves`` and ``in_host_leaves`` say whether the *kept* sets hold it. Times are ticks
    of a logical clock. ``reach`` is shown where the policy reads it (policies.Counters).
    """

    path: Path
    length: int
    device: Slots | None
    host: Slots | None
    lock_ref: int
    host_lock: int
    in_device_leaves: bool
    in_host_leaves: bool
    hit_count: int = 0
    priority: int = 0
    last_access: int = 0
    creation: int = 0
    reach: int = 0
    component: NodeComponent | None = None

    @property
    def start(self) -> int:
        """The position of its first own token."""
        return len(self.path.tokens) - self.length

    @property
    def evicted(self) -> bool:
        return self.device is None

    @property
    def backed_up(self) -> bool:
        return self.host is not None


@frozen
class Transfer:
    """A copy that was decided and has not been acknowledged.

    ``kind`` is ``write`` (device to host) or ``load``; a queued load has not ``started``.
    ``anchors`` are the nodes whose lock waits for the acknowledgement; None for a node that left
    the tree. ``published`` are the nodes that the acknowledgement of a write makes known as backed
    up, to listeners and to storage; None where that is not shown. ``arrived`` says that all bytes
    have been copied, whether or not the cache has noticed; False also where that is not shown.
    """

    kind: str
    started: bool
    anchors: tuple[Path | None, ...]
    device: Slots = attrs.field(default=(), eq=False)
    host: Slots = attrs.field(default=(), eq=False)
    component_device: Slots = attrs.field(default=(), eq=False)
    component_host: Slots = attrs.field(default=(), eq=False)
    published: tuple[Path | None, ...] | None = attrs.field(default=None, eq=False)
    arrived: bool = attrs.field(default=False, eq=False)


@frozen
class Request:
    """A running request: ``computed`` tokens have KV in ``row``; the first ``protected`` are the
    tree's.

    ``anchor`` is the node that it locks, None for the root. ``component_row`` are its own slots of
    another component, which it has from position ``component_start`` on; the second of them is the
    state after ``component_tracked`` tokens, where that is not 0. ``read`` is what its last
    forward pass read as the KV of the positions before its own, ``component_read`` what it read of
    another component, up to the same position; empty where that is not shown.
    """

    tokens: tuple[int, ...]
    namespace: str | None
    computed: int
    protected: int
    anchor: Path | None
    row: Slots = attrs.field(default=(), eq=False)
    read: Slots = attrs.field(default=(), eq=False)
    component_start: int = 0
    component_tracked: int = 0
    component_row: Slots = attrs.field(default=(), eq=False)
    component_read: Slots = attrs.field(default=(), eq=False)


@frozen
class SavedRequest:
    """A retracted request; its KV is in the slots ``host`` of the host pool, in whole pages."""

    tokens: tuple[int, ...]
    namespace: str | None
    host: Slots = attrs.field(default=(), eq=False)


@frozen
class ComponentState:
    """The pools and the order of a component other than full attention; free lists as Snapshot's.

    ``lru`` and ``host_lru`` are the *kept* lists, the least recently used first; the second holds
    what only the host has, without what is pinned. ``locks`` and ``pins`` are what each holder
    holds: the path of the last node, and where it begins. ``mapping`` gives the component's slot
    for each slot of the full pool, 0 for none.
    """

    evictable_size: int
    protected_size: int
    device_free: Sequence[int]
    host_free: Sequence[int]
    lru: tuple[Path, ...]
    host_lru: tuple[Path, ...]
    locks: tuple[tuple[Path, int], ...] = ()
    pins: tuple[tuple[Path, int], ...] = ()
    mapping: Sequence[int] = attrs.field(default=(), eq=False)
    device_kv: Sequence[int] = attrs.field(default=(), eq=False)
    host_kv: Sequence[int] = attrs.field(default=(), eq=False)


@frozen
class Snapshot:
    """The observable state. ``complete`` is false where only the nodes asked for were looked at.

    ``device_free`` are free pages (slots where the page size is 1), ``host_free`` free slots, both
    as the allocator lists them, so that a double free shows. ``locks`` and ``host_locks`` are the
    nodes held by Lock and LockHost, with repetition. ``strays`` names what is kept for nodes
    that are not in the tree. ``device_kv`` and ``host_kv`` give the fingerprint in a slot. Of an
    incomplete snapshot's free lists only the lengths count.
    """

    nodes: Mapping[Path, Node | None]
    evictable_size: int
    protected_size: int
    device_leaf_count: int
    host_leaf_count: int
    device_free: Sequence[int]
    host_free: Sequence[int]
    transfers: tuple[Transfer, ...] = ()
    requests: Mapping[int, Request] = attrs.field(factory=dict)
    locks: tuple[Path, ...] = ()
    host_locks: tuple[Path, ...] = ()
    strays: tuple[str, ...] = ()
    device_kv: Sequence[int] | Mapping[int, int] = ()
    host_kv: Sequence[int] | Mapping[int, int] = ()
    complete: bool = True
    component: ComponentState | None = None
    retracted: Mapping[int, SavedRequest] = attrs.field(factory=dict)

    @property
    def evictable_device_leaves(self) -> frozenset[Path]:
        return frozenset(p for p, n in self.nodes.items() if n and n.in_device_leaves)

    def moving(self, tier: str, *, of_component: bool = False) -> frozenset[int]:
        """Slots in ``tier`` whose bytes are still on their way to them."""
        kind = "load" if tier == "device" else "write"
        slots = attrgetter(f"component_{tier}" if of_component else tier)
        under_way = [t for t in self.transfers if t.kind == kind and not t.arrived]
        return frozenset(slot for transfer in under_way for slot in slots(transfer))

    @property
    def evictable_host_leaves(self) -> frozenset[Path]:
        return frozenset(p for p, n in self.nodes.items() if n and n.in_host_leaves)


@frozen
class Boundary:
    """The ``state`` between two steps of one operation: after the step ``after`` has returned, or
    (``applied``) once what it asked for was done.

    ``given`` are device slots whose owner an insert is about to settle. ``leaving_device`` and
    ``leaving_host`` are slots that the step gives back, and that are in no free list yet.
    """

    after: str
    applied: bool
    state: Snapshot
    given: Slots = ()
    leaving_device: Slots = ()
    leaving_host: Slots = ()
