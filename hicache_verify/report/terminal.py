"""The report for people, on standard output: what is run, each finding, the result."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.text import Text

from hicache_verify import events
from hicache_verify.findings import Finding
from hicache_verify.report import words
from hicache_verify.report.coverage import tables
from hicache_verify.report.finding_text import after, finding_text, not_compared, plural

WIDTH = 100

PathOf = Callable[[Finding], Path | None]


def console(*, stderr: bool = False) -> Console:
    """Colours where the terminal has them; ``NO_COLOR`` and pipes are respected by rich."""
    found = Console(stderr=stderr, highlight=False, markup=False, emoji=False, soft_wrap=True)
    if not found.is_terminal:
        found.width = WIDTH
    return found


class Terminal:
    """Listens to a campaign and prints."""

    def __init__(self, out: Console, path_of: PathOf) -> None:
        self._out = out
        self._path_of = path_of
        self._options = ""
        self._cells = 0
        self._lengths: dict[int, int] = {}

    def __call__(self, event: events.Event) -> None:
        if isinstance(event, events.CampaignStarted):
            self._start(event)
        elif isinstance(event, events.FindingSettled):
            self._settled(event.finding)
        elif isinstance(event, events.CellFinished):
            self._cell(event)
        elif isinstance(event, events.WorkerLost) and event.finding is None:
            self._out.print(Text(f"a worker failed: {event.how}; another one goes on", "yellow"))
        elif isinstance(event, events.CampaignFinished):
            self._finish(event)

    def _start(self, event: events.CampaignStarted) -> None:
        target, spec = event.target, event.spec
        replayed_by_header = spec.release is not None or spec.version is not None
        self._options = "" if replayed_by_header else spec.options
        self._cells = len(event.cells)
        name = (f"{target.target} {target.release}", "bold")
        workers = "" if event.workers == 1 else f", {event.workers} workers"
        rest = f" from {target.origin}, seed {event.seed}{workers}, {_limits(event)}"
        self._out.print(Text.assemble(name, rest))
        for line in not_compared(target):
            self._out.print(Text(line))
        if event.left_out:
            missing = ", ".join(event.left_out)
            self._out.print(Text(f"left out, because this release lacks it: {missing}", "yellow"))

    def _settled(self, finding: Finding) -> None:
        """Two lines at once; the whole finding follows at the end, with its shortest trace."""
        shown = plural(len(finding.case.operations), "operation")
        law = (f"✗ {words.printable(finding.divergence.law)}", "bold red")
        if finding.number in self._lengths:
            before = self._lengths[finding.number]
            self._out.print(Text.assemble(law, f" is shown by {shown} now, {before} before"))
        else:
            told = f" {after(finding.found_after)}; shown by {shown}"
            self._out.print(Text.assemble(law, told))
            self._out.print(Text(f"  {words.printable(finding.divergence.message)}", "dim"))
        self._lengths[finding.number] = len(finding.case.operations)

    def _finding(self, finding: Finding) -> None:
        path = self._path_of(finding)
        again = None
        if path is not None:
            command = ["hicache-verify", "replay", str(path), *shlex.split(self._options)]
            again = shlex.join(command)
        width, trace = min(self._out.width, WIDTH), None if path is None else str(path)
        self._out.print()
        self._out.print(finding_text(finding, width, trace, again))

    def _cell(self, event: events.CellFinished) -> None:
        if self._cells == 1 and event.abandoned is None:
            return
        laws = ", ".join(event.laws)
        verdict = Text(f"✗ {laws}", "red") if laws else Text("✓ agrees", "green")
        counts = f"{plural(event.operations, 'operation')} in {event.seconds:.1f} s"
        self._out.print(Text.assemble(f"{event.cell!s:<48} ", (f"{counts:<32} ", "dim"), verdict))
        if event.abandoned is not None:
            self._out.print(Text(f"  left early: {event.abandoned}", "yellow"))

    def _finish(self, event: events.CampaignFinished) -> None:
        for finding in event.findings:
            self._finding(finding)
        if event.verdict == events.ERROR and not event.interrupted:
            return  # the command line says why, on standard error
        amount = (
            f"{plural(event.operations, 'operation')} in "
            f"{plural(event.examples, 'example')}, {event.seconds:.1f} s"
        )
        if event.canaries.run:
            amount += f"; canaries found: {event.canaries.found} of {event.canaries.run}"
        if event.findings:
            found = plural(len(event.findings), "distinct divergence")
            line = Text.assemble((f"✗ {found}", "bold red"), f" in {amount}")
        elif event.interrupted:
            line = Text(f"no divergence up to here, in {amount}")
        else:
            line = Text.assemble(("✓ no divergence", "bold green"), f" in {amount}")
        if event.interrupted:
            line = Text.assemble(("interrupted: ", "yellow"), line)
        if event.coverage is not None:
            self._out.print()
            self._out.print(tables(event.coverage))
        self._out.print()
        self._out.print(line)


def _limits(event: events.CampaignStarted) -> str:
    cells = "" if len(event.cells) == 1 else f" over {len(event.cells)} combinations"
    each = "" if len(event.cells) == 1 else " each"
    parts = [] if event.budget is None else [f"{event.budget:g} s{cells}"]
    if event.examples is not None:
        parts.append(f"{plural(event.examples, 'example')}{each}")
    only = str(event.cells[0]) if len(event.cells) == 1 else ""
    return ", ".join(filter(None, [", at most ".join(parts), only]))
