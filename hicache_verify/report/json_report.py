"""The report for machines: one object on standard output when the campaign is over."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from hicache_impl.target import Description
from hicache_model import operations
from hicache_model.codec import encode_fields
from hicache_verify import events
from hicache_verify.engine_laws import sentence
from hicache_verify.findings import Finding
from hicache_verify.report.coverage import as_data
from hicache_verify.targets import TargetSpec
from hicache_verify.version import tool_version

PathOf = Callable[[Finding], Path | None]


class JsonReport:
    """Listens to a campaign; writes at its last event and never before."""

    def __init__(self, out: IO[str], path_of: PathOf) -> None:
        self._out = out
        self._path_of = path_of
        self._asked: TargetSpec | None = None
        self._started: events.CampaignStarted | None = None
        self._cells: list[events.CellFinished] = []

    def __call__(self, event: events.Event) -> None:
        if isinstance(event, events.TargetOpening):
            self._asked = event.spec
        elif isinstance(event, events.CampaignStarted):
            self._started = event
        elif isinstance(event, events.CellFinished):
            self._cells.append(event)
        elif isinstance(event, events.CampaignFinished):
            write(self._out, self._report(event))

    def _report(self, event: events.CampaignFinished) -> dict[str, Any]:
        started = self._started
        reached = {} if event.coverage is None else {"coverage": as_data(event.coverage)}
        return {
            "target": started.target.target if started else self._asked and self._asked.target,
            "release": started.target.release if started else self._asked and self._asked.version,
            "origin": started.target.origin if started else None,
            **unobserved(started.target if started else None),
            "bug": self._asked and self._asked.bug,
            "verdict": event.verdict,
            "message": event.problem,
            "interrupted": event.interrupted,
            "examples": event.examples,
            "operations": event.operations,
            "seconds": round(event.seconds, 3),
            "seed": started.seed if started else None,
            "workers": started.workers if started else None,
            "canaries": {"run": event.canaries.run, "found": event.canaries.found},
            "divergences": [divergence(f, self._path_of(f)) for f in event.findings],
            "cells": [_cell(cell) for cell in self._cells],
            "left_out": list(started.left_out) if started else [],
            "versions": {
                "hicache-verify": tool_version(),
                **dict(started.versions if started else ()),
            },
            **reached,
        }


def unobserved(target: Description | None) -> dict[str, Any]:
    """What is not compared, as the target does not show it; also of each of two cores."""
    if target is None:
        return {"unobserved": [], "unobserved_by_core": {}}
    by_core = {core: list(member.unobserved) for core, member in target.members.items()}
    return {"unobserved": list(target.unobserved), "unobserved_by_core": by_core}


def divergence(finding: Finding, path: Path | None) -> dict[str, Any]:
    """One finding; ``path`` is its trace, where one was written."""
    broken, found_after = finding.divergence, finding.found_after
    return {
        "law": broken.law,
        "sentence": sentence(broken.law),
        "kind": broken.kind,
        "oracle": broken.oracle,
        "core": broken.core,
        "stands_alone": broken.stands_alone,
        "message": broken.message,
        "exception": broken.exception,
        "place": broken.place,
        "operations": len(finding.case.operations),
        "minimized": finding.minimized,
        "found_after": {
            "examples": found_after.examples,
            "operations": found_after.operations,
            "seconds": round(found_after.seconds, 3),
        },
        "repeats": finding.repeats,
        "resembles": broken.resembles,
        "trace": None if path is None else str(path),
        "write_policy": finding.cell.write_policy,
        "page_size": finding.cell.page_size,
        "eviction_policy": finding.cell.eviction_policy,
        "configuration": encode_fields(finding.case.configuration),
        "steps": [operations.codec.encode(op) for op in finding.case.operations],
    }


def _cell(event: events.CellFinished) -> dict[str, Any]:
    return {
        "write_policy": event.cell.write_policy,
        "page_size": event.cell.page_size,
        "eviction_policy": event.cell.eviction_policy,
        "examples": event.examples,
        "operations": event.operations,
        "seconds": round(event.seconds, 3),
        "laws": list(event.laws),
        "abandoned": event.abandoned,
    }


def write(out: IO[str], report: dict[str, Any]) -> None:
    """One line, so that it is one object whoever reads it."""
    out.write(json.dumps(report) + "\n")
    out.flush()


def error(message: str) -> dict[str, Any]:
    """The report of a run that could not even begin."""
    return {
        "target": None,
        "release": None,
        "verdict": events.ERROR,
        "message": message,
        "examples": 0,
        "operations": 0,
        "seconds": 0.0,
        "divergences": [],
    }
