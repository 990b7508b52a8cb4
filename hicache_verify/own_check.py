"""What a cache's own check of itself says, less what is known to be a false alarm of it."""

from __future__ import annotations

import re

from hicache_impl.target import Target
from hicache_model.dialects import Dialect
from hicache_model.snapshot import Snapshot

_MISSING_DUPLICATE = re.compile(r"(Duplicate|Full host coexistence) missing: ")
"""The Python and the Rust core's words for a node on both tiers that is not kept as such."""


_PARENT_WITHOUT_COPY = re.compile(r"node \d+ backed up but parent \d+ not backed up")


def complaint(target: Target, dialect: Dialect, actual: Snapshot) -> str | None:
    """The first thing that the cache finds wrong with itself; None where it has no such check."""
    if not hasattr(target, "own_check"):
        return None
    lines, alarm = target.own_check(), _false_alarm(target, dialect, actual)
    found = [line for line in lines if alarm is None or not alarm.match(line)]
    return found[0] if found else None


def _false_alarm(target: Target, dialect: Dialect, actual: Snapshot) -> re.Pattern[str] | None:
    """What the check says wrongly in this state; None where nothing of that kind is known."""
    if dialect.own_check == "misses_loads":
        loading = any(transfer.kind == "load" for transfer in actual.transfers)
        return _MISSING_DUPLICATE if loading else None
    if dialect.own_check == "wants_parents":
        write_back = target.configuration.write_policy == "write_back"
        return _PARENT_WITHOUT_COPY if write_back else None
    return None
