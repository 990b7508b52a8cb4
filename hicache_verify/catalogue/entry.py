"""What an entry of the catalogue is: one public defect, as data."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol

import attrs

from hicache_model.configuration import Configuration
from hicache_model.dialects import release_key
from hicache_model.operations import Operation
from hicache_verify.divergence import Divergence
from hicache_verify.trace import Trace


class SourcePatch(NamedTuple):
    """In ``module``, ``old`` (which occurs once) becomes ``new``; in memory only."""

    module: str
    old: str
    new: str

    def diff(self) -> Iterator[str]:
        """Its lines, each after ``+``, ``-`` or a blank."""
        for line in difflib.ndiff(self.old.splitlines(), self.new.splitlines()):
            if not line.startswith("?"):
                yield line.rstrip()


class Kept(Protocol):
    """What a cache keeps of requests, and beside full attention: of a Configuration, say."""

    @property
    def component(self) -> str: ...

    @property
    def strip_thinking(self) -> bool: ...


@attrs.define(frozen=True, slots=True)
class NamedTrace:
    """Operations that show the defect, and what they tell.

    ``since`` is the first release that they are for, where another defect is in their way before.
    """

    name: str
    tells: str
    configuration: Configuration
    operations: tuple[Operation, ...]
    since: str = ""

    def trace(self, target: str, release: str) -> Trace:
        return Trace(self.configuration, target, release, self.operations, {"name": self.name})


@attrs.define(frozen=True, slots=True)
class Entry:
    """On each release in ``affected`` every trace that is for it diverges with one of ``laws`` (the
    first is the entry's name for it); on those in ``fixed``, and on an affected one with ``patch``,
    it agrees.

    An entry without a public reference goes by its ``identifier``. ``patch`` is None where no few
    lines mend it; each of ``earlier_patches`` is another one, or None, after the last release that
    it is for, oldest first.

    ``shown_on`` is the affected release, and the fixed one if there is any, that a reproduction
    takes when none is named. ``looks_like`` judges the shape of a divergence whose law and release
    fit already. ``strict`` are the values of the dialect (dialects.py) that are exchanged to judge
    it, which campaigns mostly have ``tolerated``. ``upstream_test`` is a file of
    ``upstream_tests``: a test for SGLang's own folder, written by hand where a trace has no form in
    plain calls; ``untested`` says why there is none at all. All others are written from the traces.
    """

    identifier: str
    title: str
    references: tuple[str, ...]
    laws: tuple[str, ...]
    write_policies: tuple[str, ...]
    affected: tuple[str, ...]
    fixed: tuple[str, ...]
    shown_on: tuple[str, ...]
    traces: tuple[NamedTrace, ...]
    patch: SourcePatch | None
    story: str
    looks_like: Callable[[Divergence], bool] = attrs.field(eq=False, repr=False)
    target: str = "sglang"
    earlier_patches: tuple[tuple[str, SourcePatch | None], ...] = ()
    strict: tuple[tuple[str, str], ...] = ()
    tolerated: bool = attrs.field()
    upstream_test: str | None = None
    untested: str | None = None

    @tolerated.default
    def _where_it_takes_more_to_judge_it(self) -> bool:
        return bool(self.strict)

    def shows_with(self, kept: Kept) -> bool:
        """Whether one of its traces needs nothing that is not ``kept``."""
        return any(
            needed.component in ("full", kept.component)
            and needed.strip_thinking <= kept.strip_thinking
            for needed in (trace.configuration for trace in self.traces)
        )

    @property
    def name(self) -> str:
        return self.references[0] if self.references else self.identifier

    def traces_of(self, release: str) -> tuple[NamedTrace, ...]:
        """Those that are for this release."""
        key = release_key(release)
        return tuple(t for t in self.traces if not t.since or release_key(t.since) <= key)

    def patch_of(self, release: str) -> SourcePatch | None:
        """What mends this release."""
        for last, earlier in self.earlier_patches:
            if release_key(release) <= release_key(last):
                return earlier
        return self.patch

    def affects(self, release: str) -> bool:
        """Compared by numbers: a source tree may add words of its own to them."""
        try:
            return release_key(release) in {release_key(known) for known in self.affected}
        except ValueError:
            return False
