"""Which known defect a divergence looks like. Target, law, release and shape must all fit."""

from __future__ import annotations

import attrs

from hicache_verify.catalogue.entries import ENTRIES
from hicache_verify.divergence import RUST, Divergence
from hicache_verify.targets import SGLANG_BOTH, SGLANG_UNIFIED


def resembles(
    divergence: Divergence, release: str, target: str = "sglang", *, stripped: bool = False
) -> str | None:
    """The entry's name, such as ``#19212``; else None. It is a likeness, not a diagnosis.

    ``stripped`` says that it was found where thoughts are.
    """
    if target == SGLANG_BOTH and divergence.core != RUST:
        target = SGLANG_UNIFIED  # the Python core's defects, which the catalogue knows
    for entry in ENTRIES:
        fits = entry.target == target and divergence.law in entry.laws and entry.affects(release)
        fits = fits and entry.strips_thinking <= stripped
        if fits and not entry.tolerated and entry.looks_like(divergence):
            return entry.name
    return None


def likened(divergence: Divergence, release: str, target: str, *, stripped: bool) -> Divergence:
    """With the issue that it looks like, if the catalogue knows one."""
    likeness = resembles(divergence, release, target, stripped=stripped)
    return attrs.evolve(divergence, resembles=likeness)
