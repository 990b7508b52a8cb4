"""The goals of reach: situations in which upkeep is known to go wrong, each with what it guards."""

from __future__ import annotations

from hicache_verify.goals import (
    evictions,
    holders,
    loads,
    open_transfers,
    pairs,
    requests,
    shapes,
    splits,
    thinking,
    waiting,
    writes,
)
from hicache_verify.goals.goal import Goal

GROUPS: dict[str, tuple[Goal, ...]] = {
    "shape": shapes.GOALS,
    "splits and inserts": splits.GOALS,
    "writes": writes.GOALS,
    "loads": loads.GOALS,
    "between decision and acknowledgement": open_transfers.GOALS,
    "eviction": evictions.GOALS,
    "locks and pins": holders.GOALS,
    "requests": requests.GOALS,
    "requests that wait": waiting.GOALS,
    "requests that think": thinking.GOALS,
    "keys of pairs": pairs.GOALS,
}
GOALS: tuple[Goal, ...] = tuple(goal for group in GROUPS.values() for goal in group)

__all__ = ["GOALS", "GROUPS", "Goal"]
