"""Progress of a long run, on standard error where that is a terminal; it leaves nothing behind."""

from __future__ import annotations

from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from hicache_verify import events

REFRESH = 8


class Progress:
    """Listens to a campaign and keeps one line up to date."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live: Live | None = None
        self._findings = 0
        self._budget: float | None = None
        self._opened = 0.0
        self._cell = ""

    def __call__(self, event: events.Event) -> None:
        if isinstance(event, events.TargetOpening):
            what = event.spec.version or event.spec.source or "the target"
            self._say(f"opening {event.spec.target} {what} (fetched the first time)")
        elif isinstance(event, events.CampaignStarted):
            self._budget, self._opened = event.budget, event.seconds
            self.stop()
        elif isinstance(event, events.CellStarted):
            of = f"{event.number}/{event.of} " if event.of > 1 else ""
            self._cell = f"{of}{event.cell}"
        elif isinstance(event, events.Progress):
            self._say(self._line(event))
        elif isinstance(event, events.FindingFound):
            self._findings += 1
            self._say(f"{event.finding.divergence.law}: minimizing")
        else:
            self.stop()  # somebody is about to print; the next progress begins anew

    def close(self) -> None:
        """It leaves nothing behind."""
        self.stop()

    def stop(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _line(self, event: events.Progress) -> str:
        seconds = event.seconds - self._opened
        time = f"{seconds:.0f}" + (f"/{self._budget:.0f} s" if self._budget else " s")
        speed = event.operations / seconds if seconds else 0
        parts = [
            time,
            self._cell,
            "minimizing" if event.minimizing else event.source,
            f"{event.operations:,} operations",
            f"{speed:,.0f}/s",
        ]
        if self._findings:
            parts.append(f"{self._findings} found")
        return " · ".join(parts)

    def _say(self, text: str) -> None:
        if not self._console.is_terminal:
            return
        line = Text(text, overflow="ellipsis", no_wrap=True)
        if self._live is None:
            self._spinner = Spinner("dots", line)
            self._live = Live(
                self._spinner,
                console=self._console,
                transient=True,
                refresh_per_second=REFRESH,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._live.start()
        self._spinner.update(text=line)
