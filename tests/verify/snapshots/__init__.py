"""Pinned output of the command line. ``UPDATE_SNAPSHOTS=1 pytest`` writes it anew, to be read."""

from __future__ import annotations

import os
from pathlib import Path

FOLDER = Path(__file__).parent


def pinned(name: str, text: str) -> str:
    """What ``name`` holds; with UPDATE_SNAPSHOTS it becomes ``text`` first."""
    path = FOLDER / name
    if os.environ.get("UPDATE_SNAPSHOTS"):
        path.write_text(text, encoding="utf-8")
    return path.read_text(encoding="utf-8") if path.exists() else ""
