"""Writes each finding into a folder: its trace, a listing for people, and two pytest files.

The trace comes first and is written as soon as a finding is known; what fails later, or is still
being minimized, never loses it. Nothing that was there before is overwritten.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from hicache_impl.target import Description
from hicache_verify import events, trace
from hicache_verify.findings import Finding
from hicache_verify.version import tool_version

MOST_NUMBERS = 100_000


class Files:
    """Listens to a campaign; ``path`` tells where the trace of a finding lies."""

    def __init__(self, folder: Path, traces: Mapping[int, Path] | None = None) -> None:
        """``traces`` are those that an earlier run wrote, by the number of the finding."""
        self._folder = folder
        self._target: Description | None = None
        self._stems = {n: path.with_suffix("") for n, path in (traces or {}).items()}
        self._written = set(self._stems)
        self.problems: dict[int, str] = {}

    def __call__(self, event: events.Event) -> None:
        if isinstance(event, events.CampaignStarted):
            self._target = event.target
        elif isinstance(event, events.FindingFound):
            self._attempt(event.finding, self._write_trace)
        elif isinstance(event, events.FindingSettled):
            self._attempt(event.finding, self._write_trace)
            self._attempt(event.finding, self._write_listing)
            self._attempt(event.finding, self._write_tests)

    def path(self, finding: Finding) -> Path | None:
        """The trace file; None where it could not be written."""
        stem = self._stems.get(finding.number)
        return stem.with_suffix(".jsonl") if stem and finding.number in self._written else None

    def _attempt(self, finding: Finding, write: Callable[[Finding, Path], None]) -> None:
        try:
            stem = self._stems.get(finding.number) or self._free_stem(finding)
            write(finding, stem)
        except Exception as error:  # noqa: BLE001 - a report that fails must not end the campaign
            self.problems.setdefault(finding.number, f"{type(error).__name__}: {error}")

    def _free_stem(self, finding: Finding) -> Path:
        law = finding.divergence.law
        for number in range(1, MOST_NUMBERS):
            stem = self._folder / f"{law}-{number}"
            if stem not in self._stems.values() and not stem.with_suffix(".jsonl").exists():
                self._stems[finding.number] = stem
                return stem
        raise FileExistsError(f"{self._folder} is full of findings of {law}; use another --out")

    def _write_trace(self, finding: Finding, stem: Path) -> None:
        assert self._target is not None
        trace.write(stem.with_suffix(".jsonl"), finding.trace(self._target, tool_version()))
        self._written.add(finding.number)

    def _write_listing(self, finding: Finding, stem: Path) -> None:
        from hicache_verify.report.listing import listing

        assert self._target is not None
        told = finding.trace(self._target, tool_version())
        text = listing(told, finding.steps, finding.divergence)
        stem.with_suffix(".txt").write_text(text, encoding="utf-8")

    def _write_tests(self, finding: Finding, stem: Path) -> None:
        from hicache_verify.report.pytest_files import write_pytest_files

        assert self._target is not None
        told = finding.trace(self._target, tool_version())
        write_pytest_files(stem.parent, stem.name, told, finding.divergence)
