"""What a release does differently *on purpose*: one table, each row with its range, reason and
source.

A known bug of a release is never a row here: it is a finding. Releases are compared by the numbers
in their names; a row without ``last`` holds up to today.
"""

from __future__ import annotations

import re
from functools import cache

import attrs


def release_key(release: str) -> tuple[int, ...]:
    """``0.5.10.post1`` -> (0, 5, 10, 1); words that follow the numbers are ignored."""
    match = re.match(r"(\d+(?:\.\d+)*)(?:\.?post(\d+))?", release)
    if match is None:
        raise ValueError(f"{release!r} does not begin with a release number such as 0.5.18")
    numbers = tuple(int(part) for part in match[1].split("."))
    return (*numbers, int(match[2] or 0))


@attrs.define(frozen=True, slots=True)
class Row:
    """One difference: from ``first`` to ``last`` (both included), ``name`` is ``value``."""

    name: str
    value: str
    first: str
    last: str | None
    reason: str
    source: str

    def holds_for(self, release: str) -> bool:
        key = release_key(release)
        return release_key(self.first) <= key and (
            self.last is None or key <= release_key(self.last)
        )


ROWS: tuple[Row, ...] = (
    Row(
        "victim_without_host_room",
        "skip",
        "0.5.9",
        "0.5.14",
        "Under write_back a device leaf that the host has no room for is passed over, and the next "
        "victim is tried. Where that leaves too little freed, the law `progress` speaks.",
        "hiradix_cache.py, evict: `if written > 0` (0.5.11)",
    ),
    Row(
        "victim_without_host_room",
        "drop",
        "0.5.15",
        None,
        "Under write_back a device leaf that the host has no room for leaves the tree together "
        "with what hangs below it, unless something there is pinned on the host.",
        "hiradix_cache.py, _drop_subtree_no_host (0.5.15)",
    ),
    Row(
        "scheduler_evicts",
        "request",
        "0.5.9",
        "0.5.16",
        "When memory is short the scheduler asks eviction for all tokens of the allocation.",
        "mem_cache/common.py, evict_from_tree_cache",
    ),
    Row(
        "scheduler_evicts",
        "shortfall",
        "0.5.17",
        None,
        "When memory is short the scheduler asks eviction only for what is missing.",
        "mem_cache/common.py, evict_from_tree_cache (0.5.17)",
    ),
    Row(
        "abort_in_prefill",
        "waits",
        "0.5.9",
        "0.5.13.post1",
        "A request that is aborted between two chunks of its prompt computes the rest first.",
        "scheduler.py, abort_request (to_finish)",
    ),
    Row(
        "abort_in_prefill",
        "releases",
        "0.5.14",
        None,
        "A request that is aborted between two chunks of its prompt is released without an insert.",
        "scheduler.py, _pending_chunked_abort_req (0.5.14)",
    ),
    Row(
        "prompt_boundary",
        "joined",
        "0.5.9",
        "0.5.19",
        "A finished request is inserted once; prompt and output may share a node.",
        "radix_cache.py, cache_finished_req",
    ),
    Row(
        "prompt_boundary",
        "split",
        "0.5.20",
        None,
        "A finished request's prompt is inserted again, chunked and with priority + 1, so that a "
        "node ends where the prompt ends.",
        "radix_cache.py, cache_finished_req (0.5.20)",
    ),
    Row(
        "lookup_refreshes",
        "whole_node",
        "0.5.9",
        None,
        "A lookup that ends inside a node gives the whole node a new access time before it splits "
        "it, so the half that nobody asked for counts as used too. RadixCache does the same. "
        "Order only.",
        "hiradix_cache.py, _match_prefix_helper and insert",
    ),
    Row(
        "hits_under_write_back",
        "none",
        "0.5.9",
        None,
        "Hits are counted only to decide on a backup, so under write_back none are, and the "
        "policies lfu and slru order nodes as lru does. Tolerated: order only.",
        "hiradix_cache.py, _inc_hit_count",
    ),
    Row(
        "insert_priority_reaches",
        "whole_node",
        "0.5.9",
        None,
        "An insert that ends inside a node raises the priority of the whole node before it splits "
        "it; RadixCache._insert_helper raises only the shared half. Tolerated: it changes eviction "
        "order under the policy `priority`, no content.",
        "hiradix_cache.py, insert",
    ),
)


@attrs.define(frozen=True, slots=True)
class Dialect:
    """The rows that hold for one release, as attributes."""

    release: str
    victim_without_host_room: str
    scheduler_evicts: str
    abort_in_prefill: str
    prompt_boundary: str
    lookup_refreshes: str
    hits_under_write_back: str
    insert_priority_reaches: str

    @classmethod
    @cache
    def of(cls, release: str) -> Dialect:
        """Raises ValueError for a release that no row covers (before 0.5.9)."""
        values = {row.name: row.value for row in ROWS if row.holds_for(release)}
        missing = [
            f.name for f in attrs.fields(cls) if f.name not in values and f.name != "release"
        ]
        if missing:
            raise ValueError(
                f"no dialect for release {release}: the table has no {', '.join(missing)}; "
                "HiRadixCache is known from 0.5.9 on"
            )
        return cls(release=release, **values)
