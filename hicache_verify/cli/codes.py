"""The exit codes that gates rely on."""

from __future__ import annotations

AGREED = 0
DIVERGED = 1
COULD_NOT_RUN = 2
INTERRUPTED = 130
