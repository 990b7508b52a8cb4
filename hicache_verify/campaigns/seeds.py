"""Seeds: everything random in a run derives from its one seed, the same in every process."""

from __future__ import annotations

import hashlib

from hicache_verify.campaigns.cells import Cell

BITS = 63


def derive(seed: int, cell: Cell, source: str, stretch: int, lane: int = 0) -> int:
    """The seed of one leg. ``stretch`` counts the workers that the leg has used up before.

    Lane 0 draws what a run with one worker draws.
    """
    parts = [seed, cell.write_policy, cell.page_size, cell.eviction_policy, source, stretch]
    if cell.component != "full":
        parts.append(cell.component)
    if cell.strip_thinking:
        parts.append("strip_thinking")
    if cell.bigram:
        parts.append("bigram")
    text = "|".join(map(str, (*parts, lane) if lane else parts))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> (64 - BITS)
