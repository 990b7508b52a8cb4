"""What a law sees: one operation, with the snapshots before and after it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from functools import cached_property
from typing import TypeAlias

import attrs

from hicache_model import operations as ops
from hicache_model.configuration import Configuration
from hicache_model.definitions import Family, is_on_path
from hicache_model.keys import keys_of
from hicache_model.observations import LOCKS
from hicache_model.outcomes import Outcome
from hicache_model.snapshot import Node, Path, Slots, Snapshot

FREE = "the free list"

Owner: TypeAlias = Path | int | str
"""A node, by its path; a request, by its number; or ``FREE``."""

Owners: TypeAlias = dict[int, list[Owner]]


@attrs.define(slots=False)
class Step:
    """One operation as the laws see it. ``before`` is None where it was not looked at."""

    configuration: Configuration
    operation: ops.Operation | None
    outcome: Outcome | None
    before: Snapshot | None
    after: Snapshot
    host_leaf: str = "no_backed_up_child"
    """The dialect of that name: what a host leaf is in this cache."""
    unobserved: tuple[str, ...] = ()
    """What the snapshots do not show (observations.py)."""
    split_hits: str = "both_halves"
    """The dialect of that name: which halves of a split node keep its hits."""
    request_counts: str = "each_insert"
    """The dialect of that name: which inserts of a request count as hits."""

    def asked(self, op: ops.Match | ops.Insert | ops.LoadBack) -> Path:
        """The path of the keys that the operation's tokens make."""
        return Path(op.namespace, keys_of(op.tokens, bigram=self.configuration.bigram))

    @cached_property
    def family(self) -> Family:
        return Family(self.after.nodes, self.host_leaf)

    @cached_property
    def old_family(self) -> Family:
        return Family(self.before.nodes if self.before else {}, self.host_leaf)

    @cached_property
    def _acknowledged(self) -> list[Path]:
        """The nodes that writes held, and do not hold any more."""
        before, after = (
            Counter(a for t in s.transfers if t.kind == "write" for a in t.anchors if a is not None)
            for s in (self.before or self.after, self.after)
        )
        return [*(before - after).elements()]

    def locks_left(self, old: Node, count: int) -> int:
        """Of ``count`` locks that a node had before, those that no acknowledgement gave back.

        All of them where locks are not shown: then there is none to give back.
        """
        if LOCKS in self.unobserved:
            return count
        return count - sum(is_on_path(old.path, anchor) for anchor in self._acknowledged)

    @cached_property
    def device_owners(self) -> Owners:
        """Owners of each device page; a request owns its row beyond what the tree holds for it."""
        page = self.configuration.page_size
        owners: Owners = {slot: [FREE] for slot in self.after.device_free}
        for path, node in self.family.nodes.items():
            for slot in pages_of(node.device or (), page):
                owners.setdefault(slot, []).append(path)
        for number, request in self.after.requests.items():
            for slot in pages_of(request.row[request.protected :], page):
                owners.setdefault(slot, []).append(number)
        return owners

    @cached_property
    def host_owners(self) -> Owners:
        owners: Owners = {slot: [FREE] for slot in self.after.host_free}
        for path, node in self.family.nodes.items():
            for slot in node.host or ():
                owners.setdefault(slot, []).append(path)
        for number, saved in self.after.retracted.items():
            for slot in saved.host:
                owners.setdefault(slot, []).append(number)
        return owners


def pages_of(slots: Slots, page: int) -> Iterable[int]:
    """The pages that the slots lie in, each once."""
    return slots if page == 1 else sorted({slot // page for slot in slots})
