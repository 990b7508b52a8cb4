"""Which known defect a divergence looks like: target, law, release, shape, and what is kept."""

from __future__ import annotations

import attrs

from hicache_model.configuration import Configuration
from hicache_verify.catalogue.entries import ENTRIES
from hicache_verify.catalogue.entry import Kept
from hicache_verify.divergence import RUST, Divergence
from hicache_verify.targets import SGLANG_BOTH, SGLANG_UNIFIED

USUAL = Configuration()


def resembles(
    divergence: Divergence, release: str, target: str = "sglang", kept: Kept = USUAL
) -> str | None:
    """The entry's name, such as ``#19212``; else None. It is a likeness, not a diagnosis.

    ``kept`` is what the cache kept that it was found on.
    """
    if target == SGLANG_BOTH and divergence.core != RUST:
        target = SGLANG_UNIFIED  # the Python core's defects, which the catalogue knows
    for entry in ENTRIES:
        fits = entry.target == target and divergence.law in entry.laws and entry.affects(release)
        fits = fits and entry.shows_with(kept)
        if fits and not entry.tolerated and entry.looks_like(divergence):
            return entry.name
    return None


def likened(divergence: Divergence, release: str, target: str, kept: Kept) -> Divergence:
    """With the issue that it looks like, if the catalogue knows one."""
    return attrs.evolve(divergence, resembles=resembles(divergence, release, target, kept))
