"""Every byte has a name: the KV of position *i* is a fingerprint of the namespace and the prefix up
to *i*.

What lies in a slot then says whether it is the right data, stale, or somebody else's.
"""

from __future__ import annotations

import zlib
from functools import lru_cache

from hicache_model.keys import Keys, positions_of

_MODULUS = (1 << 61) - 1
_FACTOR = 1_000_003


REMEMBERED = 1 << 10
"""Prefixes whose fingerprints are kept: some dozens of examples' worth, and under a MiB."""


@lru_cache(REMEMBERED)
def fingerprints(namespace: str | None, keys: Keys) -> tuple[int, ...]:
    """One integer in 1..2**61-1 for each position of ``keys``, the same in every process.

    It depends on the tokens up to there, whether ``keys`` are tokens or pairs.
    """
    value = 7 if namespace is None else 11 + zlib.crc32(namespace.encode())
    result = []
    for token in positions_of(keys):
        value = (value * _FACTOR + token + 1) % _MODULUS
        result.append(value or _MODULUS)
    return tuple(result)
