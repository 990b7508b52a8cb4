"""The one exception that ends a command with a message: whoever raises it says what to do."""

from __future__ import annotations


class CannotRun(RuntimeError):
    """There is nothing to run, and the user can do something about it; one line says what.

    ``detail`` is for those who mend the tool.
    """

    def __init__(self, message: str, detail: str = "") -> None:
        super().__init__(message)
        self.detail = detail


class SilentCanary(CannotRun):
    """A planted bug was not found, so that to have seen nothing means nothing."""


class MachineLost(CannotRun):
    """The machine that a worker was to run on is gone; another one may do."""
