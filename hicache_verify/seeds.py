"""Seeds: everything random in a run derives from its one seed, the same in every process."""

from __future__ import annotations

import hashlib

from hicache_verify.cells import Cell

BITS = 63


def derive(seed: int, cell: Cell, source: str, stretch: int) -> int:
    """The seed of one leg. ``stretch`` counts the workers that the leg has used up before."""
    text = "|".join(
        map(str, (seed, cell.write_policy, cell.page_size, cell.eviction_policy, source, stretch))
    )
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> (64 - BITS)
