"""Which laws hold between two steps of one operation, and how they are judged there.

A tree core that works in steps hands over to the cache after each: it has brought its tree, its
kept sets and its sizes up to date, and says what is to be freed; the cache frees it, or makes a
host copy that was asked for, and calls the next step. So whatever a next step may rely on holds at
each of these boundaries (SGLang's ``unified_tree_core_interface.py``). What an operation owes only
when it is over does not. Full attention alone: a component is judged when an operation is over.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property

import attrs

from hicache_model.laws import LAWS, Law, Owners, Step, Violation, pages_of
from hicache_model.snapshot import Boundary, Slots, Snapshot

HOLDS: Mapping[str, str] = {
    "host-leaves": "the next step chooses its victim from the kept set",
    "device-leaves": "the next step chooses its victim from the kept set",
    "pinned-until-ack": "the next step may take what was just freed",
    "no-orphan": "a step takes a whole node out, with all that is kept for it",
    "device-prefix-closed": "an insert restores from the root down, an eviction takes leaves",
    "backup-prefix-closed": "a backup goes from the root down, an eviction takes leaves",
    "free-once": "what a step says is to be freed is in no free list, and freed once",
    "single-owner": "what a step says is to be freed is no node's any more",
    "conservation": "a slot that nobody owns is about to be freed, or still in the caller's hand",
    "lengths-agree": "each step cuts key and slots together",
    "locked-stays": "nothing that was locked before gives its lock back before the last step",
    "bytes": "a copy goes out before the slots that it is of are freed",
}
"""Judged at each boundary."""

ONLY_AFTERWARDS: Mapping[str, str] = {
    "sizes": "a load back that makes room has locked evicted nodes, which are in neither size",
    "lock-balance": "a caller holds locks of its own, of which only it knows, until it returns",
    "namespace-isolation": "it is about an answer",
    "longest-prefix": "it is about an answer",
    "failed-step-changes-nothing": "it is about an answer",
    "within-quota": "it is about an answer",
    "progress": "it is about an answer",
    "promised-backup": "a promise is kept when the operation is over",
    "split-neutral": "it compares the whole operation's end with its beginning",
    "policy-order": "it compares the whole operation's end with its beginning",
    "reset-is-new": "a reset has no steps",
    "read-after-load": "no forward pass runs between two steps",
}
"""Not judged at a boundary, and why not."""

IN_HAND = "the operation"


@attrs.define(slots=False)
class Between(Step):
    """A boundary as the laws see it; ``after`` lists as free what is about to be freed."""

    in_hand: frozenset[int] = frozenset()
    """Device pages that the operation may hold: what it was given, and rows of requests before."""
    given: frozenset[int] = frozenset()
    """Those of them that are no request's any more, whatever its row says."""

    @cached_property
    def device_owners(self) -> Owners:
        owners = super().device_owners
        for page in self.given & owners.keys():
            owners[page] = [owner for owner in owners[page] if not isinstance(owner, int)]
        for page in self.in_hand:
            if not owners.get(page):
                owners[page] = [IN_HAND]
        return owners


def judge_boundary(step: Step, boundary: Boundary) -> Iterator[tuple[Law, Violation]]:
    """Every violation of a law that holds there; ``step`` is the whole operation."""
    between = _between(step, boundary)
    for identifier in HOLDS:
        law = LAWS[identifier]
        if law.needs.isdisjoint(step.unobserved):
            for violation in law.check(between):
                yield law, _said(boundary, violation)


def _between(step: Step, boundary: Boundary) -> Between:
    page = step.configuration.page_size
    given = _pages(boundary.given, page)
    whole = {field.name: getattr(step, field.name) for field in attrs.fields(Step)}
    here = {"outcome": None, "after": _as_freed(boundary, page)}
    return Between(**whole | here, in_hand=given | _rows(step.before, page), given=given)


def _as_freed(boundary: Boundary, page: int) -> Snapshot:
    state = boundary.state
    if not (boundary.leaving_device or boundary.leaving_host):
        return state
    return attrs.evolve(
        state,
        device_free=(*state.device_free, *pages_of(boundary.leaving_device, page)),
        host_free=(*state.host_free, *boundary.leaving_host),
    )


def _rows(before: Snapshot | None, page: int) -> frozenset[int]:
    requests = before.requests.values() if before is not None else ()
    rows = (request.row[request.protected :] for request in requests)
    return frozenset(number for row in rows for number in pages_of(row, page))


def _pages(slots: Slots, page: int) -> frozenset[int]:
    return frozenset(pages_of(slots, page))


def _said(boundary: Boundary, violation: Violation) -> Violation:
    done = "was carried out" if boundary.applied else "returned"
    return Violation(f"between two steps, when {boundary.after} {done}: {violation.message}")
