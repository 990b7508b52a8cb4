"""Which known defect a divergence looks like. Target, law, release and shape must all fit."""

from __future__ import annotations

from hicache_verify.catalogue.entries import ENTRIES
from hicache_verify.divergence import RUST, Divergence
from hicache_verify.targets import SGLANG_BOTH, SGLANG_UNIFIED


def resembles(divergence: Divergence, release: str, target: str = "sglang") -> str | None:
    """The entry's name, such as ``#19212``; else None. It is a likeness, not a diagnosis."""
    if target == SGLANG_BOTH and divergence.core != RUST:
        target = SGLANG_UNIFIED  # the Python core's defects, which the catalogue knows
    for entry in ENTRIES:
        fits = entry.target == target and divergence.law in entry.laws and entry.affects(release)
        if fits and not entry.tolerated and entry.looks_like(divergence):
            return entry.name
    return None
