"""What a parent and its worker say to each other, as data. A worker takes one job at a time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import attrs

from hicache_impl.target import Description
from hicache_model.configuration import Configuration
from hicache_model.operations import REQUEST_OPERATIONS, Operation
from hicache_verify.campaigns.cells import Cell
from hicache_verify.divergence import Divergence
from hicache_verify.exploration.bound import Bound, Operations
from hicache_verify.exploration.explore import Expanded, State
from hicache_verify.reach import Reach
from hicache_verify.replay import Step

Key: TypeAlias = tuple[str, str, str]


@attrs.frozen
class Case:
    """Something to run: a configuration, and operations on a cache built from it."""

    configuration: Configuration
    operations: tuple[Operation, ...]

    @property
    def has_requests(self) -> bool:
        return any(type(op) in REQUEST_OPERATIONS for op in self.operations)


# -- jobs ------------------------------------------------------------------------------------------


@attrs.frozen
class Known:
    """A finding that was made before: how long its shortest case is, and after how many tries.

    ``requests`` says whether that case has operations on requests, which rarely get as short.
    """

    length: int
    requests: bool
    tries: int


@attrs.frozen
class Leg:
    """Explore ``cell`` with one source of operations, for so many examples or seconds.

    What is ``known`` is counted, and reported again only where it may get shorter. The canary sings
    after so many examples for the first time, and then once in so many; None is for never.
    ``coverage`` counts what is reached too.
    """

    cell: Cell
    source: str
    seed: int
    examples: int | None
    seconds: float | None
    first: bool = False
    database: str | None = None
    canary_after: int | None = None
    canary_every: int = 100
    known: Mapping[Key, Known] = attrs.field(factory=dict)
    coverage: bool = False


@attrs.frozen
class Attempt:
    """Run ``case`` once, in the worker itself.

    Illegal operations end it, or are left out. ``keep_steps`` brings back what was seen on the way.
    ``strict`` are values of the dialect that are exchanged. Of two cores that run side by side,
    ``core`` is the one to be asked alone.
    """

    case: Case
    skip_illegal: bool = False
    keep_steps: bool = False
    strict: Mapping[str, str] = attrs.field(factory=dict)
    core: str | None = None


@attrs.frozen
class Minimize:
    """Find the shortest case that still shows ``divergence``.

    ``isolated`` runs each candidate in a child process of its own, because it may hang or die.
    """

    case: Case
    divergence: Divergence
    isolated: bool


@attrs.frozen
class Expand:
    """Try every operation of the alphabet after each of ``states``, for so many seconds.

    ``without`` are lists of operations that have ended a worker before. The reply is Expanded.
    """

    configuration: Configuration
    bound: Bound
    states: tuple[State, ...]
    seconds: float | None
    without: frozenset[Operations] = frozenset()


Job: TypeAlias = Leg | Attempt | Minimize | Expand


# -- replies ---------------------------------------------------------------------------------------


@attrs.frozen
class Opened:
    """The target is there; ``versions`` are those of what it stands on."""

    description: Description
    versions: tuple[tuple[str, str], ...]


@attrs.frozen
class Refused:
    """The target cannot be opened, or the job cannot be done as it was asked for.

    ``mistake`` is the exception class; ``detail`` is for those who mend the tool.
    """

    mistake: str
    message: str
    detail: str = ""


@attrs.frozen
class Found:
    """A divergence with a new key, before it is minimized; counts are the worker's own so far."""

    divergence: Divergence
    case: Case
    examples: int
    operations: int


@attrs.frozen
class Minimized:
    """The shortest case found for the finding with ``key``, how it diverges, and its steps.

    It may come again for a finding that is met again, and need not be shorter than before.
    """

    key: Key
    case: Case
    divergence: Divergence
    steps: tuple[Step, ...] = ()


@attrs.frozen
class Sung:
    """The canary sang: whether the planted ``bug`` was found under its ``law``."""

    bug: str
    law: str
    found: bool
    operations: int


@attrs.frozen
class LegDone:
    """The leg ended by itself; how often each known finding was met again, and what was reached."""

    repeats: tuple[tuple[Key, int], ...]
    reach: Reach | None = None


@attrs.frozen
class Attempted:
    """How an attempt went: what was performed, and the divergence that ended it, if one did.

    ``illegal`` is the index of the first operation that was not legal in its state, and why.
    """

    divergence: Divergence | None
    case: Case
    illegal: tuple[int, str] | None = None
    steps: tuple[Step, ...] = ()


@attrs.frozen
class Broken:
    """The engine itself failed, not the target."""

    message: str
    detail: str


Reply: TypeAlias = (
    Opened | Refused | Found | Minimized | Sung | LegDone | Attempted | Expanded | Broken
)
