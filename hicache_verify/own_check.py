"""What a cache's own check of itself says, less what is known to be a false alarm of it."""

from __future__ import annotations

import re

from hicache_impl.target import ChecksItself, Target
from hicache_model.dialects import Dialect
from hicache_model.snapshot import Snapshot

_MISSING_DUPLICATE = re.compile(r"(Duplicate|Full host coexistence) missing: ")
"""The Python and the Rust core's words for a node on both tiers that is not kept as such."""


def complaint(target: Target, dialect: Dialect, actual: Snapshot) -> str | None:
    """The first thing that the cache finds wrong with itself; None where it has no such check."""
    if not isinstance(target, ChecksItself):
        return None
    found = target.own_check()
    loading = any(transfer.kind == "load" for transfer in actual.transfers)
    if dialect.own_check == "misses_loads" and loading:
        found = tuple(line for line in found if not _MISSING_DUPLICATE.match(line))
    return found[0] if found else None
