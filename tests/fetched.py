"""What tests do that need a release."""

from __future__ import annotations

from pathlib import Path

import pytest


def fetched(version: str) -> Path:
    """The release's folder; skips where its wheel can be had from nowhere."""
    from hicache_impl.sglang import fetch
    from hicache_impl.sglang.errors import Offline

    try:
        return fetch.unpacked(version)
    except Offline as offline:
        pytest.skip(str(offline))
