"""Which known defect a divergence looks like. Target, law, release and shape must all fit."""

from __future__ import annotations

from hicache_verify.catalogue.entries import ENTRIES
from hicache_verify.divergence import Divergence


def resembles(divergence: Divergence, release: str, target: str = "sglang") -> str | None:
    """The entry's name, such as ``#19212``; else None. It is a likeness, not a diagnosis."""
    for entry in ENTRIES:
        fits = entry.target == target and divergence.law in entry.laws and entry.affects(release)
        if fits and not entry.strict and entry.looks_like(divergence):
            return entry.name
    return None
