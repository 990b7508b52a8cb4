"""What a reproduction leaves behind: each trace that shows its defect, and pytest files of it.

A trace that is judged more strictly than in campaigns is a test in plain calls alone: played again,
it agrees.
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from hicache_verify import trace
from hicache_verify.catalogue.events import Event, TraceDone


class UnusableFolder(OSError):
    """There is something else in its place, or it may not be made."""


class Files:
    """A listener that writes into ``folder``, by entry, release and number of the trace."""

    def __init__(self, folder: Path) -> None:
        """UnusableFolder where it cannot be made."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UnusableFolder(
                f"cannot write into {folder}: {error.strerror}; name another folder with --out"
            ) from error
        self._folder = folder

    def __call__(self, event: Event) -> None:
        if isinstance(event, TraceDone) and event.divergence is not None and event.as_expected:
            self._write(event)

    def _write(self, event: TraceDone) -> None:
        from hicache_verify.report.pytest_files import (
            REPLAY,
            UPSTREAM,
            identifier,
            write_pytest_files,
        )

        entry, release = event.run.entry, event.run.release
        name = f"{entry.identifier}-{release}-{1 + entry.traces.index(event.trace)}"
        told = event.trace.trace(entry.target, release)
        trace.write(self._folder / f"{name}.jsonl", told)
        forms = [] if entry.tolerated else [REPLAY]
        if entry.upstream_test is None and entry.untested is None:
            forms.append(UPSTREAM)
        write_pytest_files(self._folder, name, told, event.divergence, forms)
        if entry.upstream_test is not None:
            path = self._folder / f"test_{identifier(name)}_{UPSTREAM}.py"
            path.write_text(by_hand(entry.upstream_test), encoding="utf-8")


def by_hand(name: str) -> str:
    """A test for SGLang's own folder that no trace was turned into."""
    file = resources.files("hicache_verify.catalogue") / "upstream_tests" / name
    return file.read_text(encoding="utf-8")
