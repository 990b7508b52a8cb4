"""A reproduction for people: step by step where the defect shows, in short where all agrees."""

from __future__ import annotations

import textwrap
from typing import IO

from rich.console import Console
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from hicache_verify.catalogue.entry import Entry, NamedTrace
from hicache_verify.catalogue.events import (
    AGREED,
    DIVERGED,
    EntryDone,
    EntryStarted,
    Event,
    Run,
    RunRefused,
    RunStarted,
    StepDone,
    TraceDone,
    TraceStarted,
)
from hicache_verify.report import words
from hicache_verify.report.listing import BROKEN, divergence_block, step_block

WIDTH = 100
SIGNS = {"-": "red", "+": "green"}


def console_for(file: IO[str]) -> Console:
    """At most ``WIDTH`` columns; exactly that many where there is no terminal."""
    console = Console(file=file, highlight=False, soft_wrap=True)
    console.width = min(console.width, WIDTH) if console.is_terminal else WIDTH
    return console


class TerminalReport:
    """A listener that writes as things happen."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.done: list[TraceDone | RunRefused] = []
        self.last: StepDone | None = None

    def __call__(self, event: Event) -> None:
        if isinstance(event, EntryStarted):
            self._entry(event.entry)
        elif isinstance(event, RunStarted):
            self._run(event.run)
        elif isinstance(event, TraceStarted):
            self._trace(event)
        elif isinstance(event, StepDone):
            self._step(event)
        elif isinstance(event, TraceDone):
            self._trace_done(event)
        elif isinstance(event, RunRefused):
            self.done.append(event)
            self._line(f"could not be played: {event.problem}", "red")
        elif isinstance(event, EntryDone):
            self._summary(event)

    def _line(self, text: str = "", style: str = "") -> None:
        for line in textwrap.wrap(words.printable(text), self.console.width) or [""]:
            self._raw(line, style)

    def _raw(self, line: str, style: str = "") -> None:
        """A line that was laid out already, such as a piece of a tree."""
        self.console.print(Text(line, style=style, overflow="ignore", no_wrap=True))

    def _entry(self, entry: Entry) -> None:
        self.done = []
        self._line(f"{entry.name}  {entry.title}", "bold")
        self._line(facts(entry), "dim")
        self._line()
        self._line(entry.story)

    def _run(self, run: Run) -> None:
        self._line()
        title = f"{run.entry.target} {run.release}{', patched' if run.patched else ''}"
        self.console.print(
            Rule(Text(f"{title}: should {_should(run)}", style="bold"), align="left")
        )
        patch = run.entry.patch_of(run.release) if run.patched else None
        for line in patch.diff() if patch is not None else ():
            self._raw(line, SIGNS.get(line[:1], ""))

    def _trace(self, event: TraceStarted) -> None:
        self.last = None
        self._line()
        self._line(event.trace.name, "bold")
        if event.run.should == DIVERGED:
            self._line(event.trace.tells)
            self._line(words.configuration_text(event.trace.configuration), "dim")

    def _step(self, event: StepDone) -> None:
        lines = self._lines(event)
        self._raw(lines[0])
        if event.run.should == DIVERGED:
            self._picture(lines)
        self.last = event

    def _lines(self, event: StepDone) -> list[str]:
        """The operation and its answer, then the tree after it."""
        trace = event.trace.trace(event.run.entry.target, event.run.release)
        concerned = {pair.path for pair in event.divergence.nodes} if event.divergence else ()
        return step_block(trace, event.number, event.step, concerned, self.console.width)

    def _picture(self, lines: list[str]) -> None:
        for line in lines[1:]:
            self._raw(line, "red" if line.startswith(BROKEN) else "")

    def _trace_done(self, event: TraceDone) -> None:
        self.done.append(event)
        if self.last is not None and event.run.should != DIVERGED:
            self._picture(self._lines(self.last))
        if event.divergence is not None:
            for line in divergence_block(event.divergence, self.console.width):
                self._raw(line, "red")
        elif event.problem:
            self._line(f"could not be played: {event.problem}", "red")
        else:
            self._line("cache and model agree", "green" if event.as_expected else "red")

    def _summary(self, event: EntryDone) -> None:
        self._line()
        self.console.print(summary(event.entry, self.done))
        sentence = {
            True: "every expectation held",
            False: "an expectation did not hold",
            None: "not every release could be played",
        }[event.held]
        style = "bold green" if event.held else "bold red"
        self._line(f"{event.entry.name}: {sentence}", style)
        self._line()


def facts(entry: Entry) -> str:
    names = ", ".join(entry.references) or "no public number"
    fixed = f"fixed in {entry.fixed[0]}" if entry.fixed else "not fixed yet"
    return (
        f"{names} · law {entry.laws[0]} · {', '.join(entry.write_policies)}"
        f" · {entry.target} {_span(entry.affected)}, {fixed}"
    )


def summary(entry: Entry, done: list[TraceDone | RunRefused]) -> Table:
    """One row a run, one column a trace."""
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="dim")
    for heading in ("release", "should", *(trace.name for trace in entry.traces)):
        table.add_column(heading)
    for run in dict.fromkeys((event.run.release, event.run.patched) for event in done):
        events = [e for e in done if (e.run.release, e.run.patched) == run]
        name = f"{run[0]}, patched" if run[1] else run[0]
        table.add_row(
            name, _should(events[0].run), *(_cell(events, trace) for trace in entry.traces)
        )
    return table


def listed(entries: tuple[Entry, ...]) -> Text:
    """The catalogue, a few lines an entry."""
    text = Text()
    for entry in entries:
        text.append(f"{entry.identifier}  {entry.title}\n", "bold")
        text.append(f"{textwrap.indent(textwrap.fill(facts(entry), WIDTH - 2), '  ')}\n", "dim")
    return text


def _span(releases: tuple[str, ...]) -> str:
    return f"{releases[0]} to {releases[-1]}" if len(releases) > 1 else releases[0]


def _should(run: Run) -> str:
    return "diverge" if run.should == DIVERGED else "agree"


def _cell(events: list[TraceDone | RunRefused], trace: NamedTrace) -> Text:
    """What became of the trace in one run."""
    run = events[0].run
    if trace not in run.entry.traces_of(run.release):
        return Text(f"from {trace.since} on", style="dim")
    done = [event for event in events if isinstance(event, TraceDone) and event.trace is trace]
    return _verdict(done[0]) if done else Text("not played", style="red")


def _verdict(event: TraceDone) -> Text:
    word = {AGREED: "agrees", DIVERGED: event.law}.get(event.verdict, event.verdict)
    sign, style = ("✓", "green") if event.as_expected else ("✗", "red")
    return Text(f"{sign} {word}", style=style)
