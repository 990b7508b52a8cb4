"""What happens in a campaign, as a stream of typed events. The engine emits; reports listen."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import attrs

from hicache_impl.target import Description
from hicache_verify.campaigns.cells import Cell
from hicache_verify.campaigns.coverage import Coverage
from hicache_verify.findings import Finding
from hicache_verify.targets import TargetSpec

AGREE, DIVERGED, ERROR = "agree", "diverged", "error"


@attrs.frozen
class TargetOpening:
    """The target is fetched and imported, which takes a while the first time."""

    spec: TargetSpec


@attrs.frozen
class CampaignStarted:
    """The target is open, after so many seconds. ``left_out`` are eviction policies it lacks."""

    target: Description
    spec: TargetSpec
    cells: tuple[Cell, ...]
    left_out: tuple[str, ...]
    seed: int
    examples: int | None
    budget: float | None
    versions: tuple[tuple[str, str], ...]
    seconds: float
    workers: int = 1


@attrs.frozen
class CellStarted:
    cell: Cell
    number: int
    of: int


@attrs.frozen
class Progress:
    """Several times a second; counts are those of the whole campaign."""

    cell: Cell
    source: str
    seconds: float
    examples: int
    operations: int
    minimizing: bool


@attrs.frozen
class FindingFound:
    """A new finding, with its whole trace; FindingSettled follows."""

    finding: Finding


@attrs.frozen
class FindingSettled:
    """The finding minimized, or as it was found where that failed; again when it gets shorter."""

    finding: Finding


@attrs.frozen
class WorkerLost:
    """A worker hung, died or broke; another goes on.

    ``finding`` is None where the target had no part in it.
    """

    how: str
    finding: int | None


@attrs.frozen
class CellFinished:
    """``laws`` are those that broke in this cell; ``abandoned`` says why it was left early."""

    cell: Cell
    examples: int
    operations: int
    seconds: float
    laws: tuple[str, ...]
    abandoned: str | None = None


@attrs.frozen
class Canaries:
    """How often a planted bug was run, and how often it was found."""

    run: int = 0
    found: int = 0


@attrs.frozen
class CampaignFinished:
    """The result. ``problem`` says in one line what kept the run from being done as asked."""

    verdict: str
    examples: int
    operations: int
    seconds: float
    findings: tuple[Finding, ...]
    interrupted: bool = False
    problem: str | None = None
    canaries: Canaries = Canaries()
    coverage: Coverage | None = None


Event: TypeAlias = (
    TargetOpening
    | CampaignStarted
    | CellStarted
    | Progress
    | FindingFound
    | FindingSettled
    | WorkerLost
    | CellFinished
    | CampaignFinished
)
Listener: TypeAlias = Callable[[Event], None]


def to_all(*listeners: Listener) -> Listener:
    """One listener that passes each event on, in the order given."""

    def listen(happened: Event) -> None:
        for listener in listeners:
            listener(happened)

    return listen
