"""What an exploration came to, for people and as JSON."""

from __future__ import annotations

import shlex
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from hicache_verify import events
from hicache_verify.campaigns.cells import Cell
from hicache_verify.exploration.explore import Exploration, Layer
from hicache_verify.exploration.exploring import Explorations, Result
from hicache_verify.findings import Finding
from hicache_verify.report import json_report
from hicache_verify.report.finding_text import finding_text, not_compared, plural
from hicache_verify.report.terminal import WIDTH
from hicache_verify.targets import TargetSpec

PathOf = Callable[[Finding], Path | None]


class Layers:
    """Prints what is explored, and a line for each layer as it ends.

    What hides the progress runs ``first``.
    """

    def __init__(self, out: Console, first: Callable[[], None]) -> None:
        self._out = out
        self._first = first
        self._cell: Cell | None = None

    def begin(self, event: events.Event) -> None:
        """Listens to events; only the first one is said."""
        if isinstance(event, events.CampaignStarted):
            target, workers = event.target, plural(event.workers, "worker")
            name = (f"{target.target} {target.release}", "bold")
            self._first()
            self._out.print(Text.assemble(name, f" from {target.origin}, {workers}"))
            for line in not_compared(target):
                self._out.print(Text(line))

    def __call__(self, cell: Cell, layer: Layer) -> None:
        self._first()
        if cell != self._cell:
            self._cell = cell
            self._out.print(Text(f"\n{cell}", "bold"))
        rate = layer.transitions / layer.seconds if layer.seconds else 0.0
        line = Text(
            f"depth {layer.depth:>2}  {layer.transitions:>9,} transitions  "
            f"{layer.states:>9,} new states  {rate:>6,.0f} transitions/s"
        )
        if not layer.complete:
            line.append("  cut short", "yellow")
        self._out.print(line)


def show(result: Result, spec: TargetSpec, path_of: PathOf, out: Console) -> None:
    """Each finding, then what was shown. ``spec`` is named where a trace alone does not."""
    width = min(out.width, WIDTH)
    options = "" if spec.version is not None else spec.options
    for finding in result.findings:
        path = path_of(finding)
        trace = again = None
        if path is not None:
            trace = str(path)
            again = f"hicache-verify replay {shlex.quote(trace)} {options}".strip()
        out.print()
        out.print(finding_text(finding, width, trace, again))
    out.print()
    for exploration in result.explorations:
        if exploration.depth or exploration.found:
            out.print(_conclusion(exploration, width))
    if result.interrupted:
        out.print(Text("interrupted: this is what was shown up to here", "yellow"))


def _conclusion(exploration: Exploration, width: int) -> Text:
    mark, style = ("✗", "bold red") if exploration.found else ("✓", "bold green")
    lines = textwrap.wrap(exploration.sentence(), width - 2)
    counts = " · ".join(_counts(exploration))
    body = "\n  ".join(lines[1:])
    return Text.assemble(
        (f"{mark} {lines[0]}", style), f"\n  {body}" if body else "", (f"\n  {counts}", "dim")
    )


def _counts(exploration: Exploration) -> Iterator[str]:
    yield plural(exploration.states, "state")
    yield plural(exploration.transitions, "transition")
    if exploration.seconds:
        yield f"{exploration.states / exploration.seconds:,.0f} states/s"
        yield f"{exploration.transitions / exploration.seconds:,.0f} transitions/s"
    yield f"{exploration.seconds:,.1f} s"


# -- for machines ----------------------------------------------------------------------------------


def as_json(asked: Explorations, result: Result, path_of: PathOf) -> dict[str, Any]:
    """Sums over all explorations; ``depth`` is what every one of them reached."""
    explored, target = result.explorations, result.target
    return {
        "target": asked.spec.target if target is None else target.target,
        "release": asked.spec.version if target is None else target.release,
        "origin": None if target is None else target.origin,
        **json_report.unobserved(target),
        "verdict": result.verdict,
        "message": result.problem,
        "interrupted": result.interrupted,
        "sentence": result.sentence,
        "alphabet": list(asked.bound.alphabet),
        "tokens": asked.bound.tokens,
        "joined": asked.bound.join,
        "states": sum(each.states for each in explored),
        "transitions": sum(each.transitions for each in explored),
        "depth": min((each.depth for each in explored), default=0),
        "complete": all(each.complete for each in explored),
        "seconds": round(sum(each.seconds for each in explored), 3),
        "divergences": [json_report.divergence(f, path_of(f)) for f in result.findings],
        "explorations": [_one(each) for each in explored],
    }


def _one(exploration: Exploration) -> dict[str, Any]:
    configuration = exploration.configuration
    return {
        "write_policy": configuration.write_policy,
        "page_size": configuration.page_size,
        "eviction_policy": configuration.eviction_policy,
        "device_slots": configuration.device_slots,
        "host_slots": configuration.host_slots,
        "sentence": exploration.sentence(),
        "states": exploration.states,
        "transitions": exploration.transitions,
        "depth": exploration.depth,
        "complete": exploration.complete,
        "exhausted": exploration.exhausted,
        "seconds": round(exploration.seconds, 3),
        "laws": sorted({found.divergence.law for found in exploration.found}),
    }
