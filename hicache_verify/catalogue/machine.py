"""A reproduction for machines: one JSON object, made from the events."""

from __future__ import annotations

from typing import Any

from hicache_model import operations, outcomes
from hicache_verify.catalogue.entry import Entry
from hicache_verify.catalogue.events import (
    EntryDone,
    EntryStarted,
    Event,
    RunRefused,
    RunStarted,
    StepDone,
    TraceDone,
    TraceStarted,
)
from hicache_verify.replay import Step


class JsonReport:
    """A listener; ``entries`` is the result so far."""

    def __init__(self) -> None:
        self.entries: list[dict[str, Any]] = []

    def __call__(self, event: Event) -> None:
        if isinstance(event, EntryStarted):
            self.entries.append({**describe(event.entry), "held": None, "runs": []})
        elif isinstance(event, RunStarted):
            run = event.run
            self._runs.append(
                {
                    "release": run.release,
                    "patched": run.patched,
                    "should": run.should,
                    "error": None,
                    "traces": [],
                }
            )
        elif isinstance(event, RunRefused):
            self._runs[-1]["error"] = event.problem
        elif isinstance(event, TraceStarted):
            self._runs[-1]["traces"].append({"name": event.trace.name, "steps": []})
        elif isinstance(event, StepDone):
            self._runs[-1]["traces"][-1]["steps"].append(_step(event.step))
        elif isinstance(event, TraceDone):
            self._runs[-1]["traces"][-1].update(
                verdict=event.verdict,
                law=event.law or None,
                message=event.divergence.message if event.divergence else event.problem or None,
                as_expected=event.as_expected,
            )
        elif isinstance(event, EntryDone):
            self.entries[-1]["held"] = event.held

    @property
    def _runs(self) -> list[dict[str, Any]]:
        runs: list[dict[str, Any]] = self.entries[-1]["runs"]
        return runs


def describe(entry: Entry) -> dict[str, Any]:
    return {
        "id": entry.identifier,
        "title": entry.title,
        "references": list(entry.references),
        "laws": list(entry.laws),
        "write_policies": list(entry.write_policies),
        "affected": list(entry.affected),
        "fixed": list(entry.fixed),
    }


def _step(step: Step) -> dict[str, Any]:
    return {
        "operation": operations.codec.encode(step.operation),
        "outcome": step.outcome and outcomes.codec.encode(step.outcome),
    }
