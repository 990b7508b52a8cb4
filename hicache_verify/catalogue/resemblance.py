"""Which known defect a divergence looks like. Law, release and shape must all fit; else None."""

from __future__ import annotations

from hicache_verify.catalogue.entries import ENTRIES
from hicache_verify.divergence import Divergence


def resembles(divergence: Divergence, release: str) -> str | None:
    """The public reference, such as ``#19212``. It is a likeness, not a diagnosis."""
    for entry in ENTRIES:
        fits = divergence.law in entry.laws and entry.affects(release)
        if fits and entry.looks_like(divergence):
            return entry.references[0]
    return None
