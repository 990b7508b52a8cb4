"""The version of this tool."""

from __future__ import annotations

import importlib.metadata


def tool_version() -> str:
    try:
        return importlib.metadata.version("hicache-verify")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"
