"""Which cells a sweep has: releases by name or range, with their caches and write policies."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence

import attrs

from hicache_impl.sglang import releases
from hicache_model.dialects import CACHES, UNIFIED
from hicache_verify.targets import SGLANG, UNIFIED_NAMES, TargetSpec

LATEST = "latest"
RANGE = ".."


class BadReleases(ValueError):
    """Releases were asked for that do not exist, or a range that holds none."""


@attrs.frozen
class SweepCell:
    """``core`` is None where the cache has only one tree. BadTarget for what nobody knows."""

    release: str
    cache: str
    core: str | None
    write_policy: str

    def __attrs_post_init__(self) -> None:
        _ = self.spec

    @property
    def spec(self) -> TargetSpec:
        return TargetSpec(release=self.release, cache=self.cache, core=self.core)

    @property
    def target(self) -> str:
        """What traces call it."""
        if self.cache != UNIFIED:
            return SGLANG
        names = {core: name for name, core in UNIFIED_NAMES.items()}
        return names[self.spec.tree_core]

    def __str__(self) -> str:
        named = (self.release, CACHES[self.cache], self.core, self.write_policy)
        return " ".join(name for name in named if name is not None)


def chosen(words: Iterable[str], known: Sequence[str]) -> tuple[str, ...]:
    """The releases that ``words`` name (``0.5.18``, ``latest``, ``0.5.9..latest``), oldest first.

    ``known`` are those that exist, oldest first. Raises BadReleases.
    """
    if not known:
        raise BadReleases("no release is known: the package index cannot be reached")
    found = set(itertools.chain.from_iterable(_named(word, known) for word in words))
    return tuple(release for release in known if release in found)


def _named(word: str, known: Sequence[str]) -> Sequence[str]:
    if RANGE not in word:
        return (_one(word, known),)
    first, _, last = word.partition(RANGE)
    start, end = known.index(_one(first, known)), known.index(_one(last, known))
    if start > end:
        raise BadReleases(f"{word!r:.60} is no range: {first} is newer than {last}")
    return known[start : end + 1]


def _one(word: str, known: Sequence[str]) -> str:
    release = known[-1] if word == LATEST else word
    if release not in known:
        raise BadReleases(f"there is no release {word!r:.40} from {known[0]} to {known[-1]}")
    return release


def matrix(
    chosen_releases: Iterable[str],
    caches: Iterable[str],
    cores: Iterable[str],
    write_policies: Iterable[str],
) -> Iterator[SweepCell]:
    """The cells, in the order of the table; a cache that a release has not is one of them too."""
    kinds = [(cache, core) for cache in caches for core in (cores if cache == UNIFIED else (None,))]
    for release, (cache, core), policy in itertools.product(chosen_releases, kinds, write_policies):
        yield SweepCell(release, cache, core, policy)


def known_releases() -> tuple[str, ...]:
    """What the package index offers; where it cannot be reached, what is cached or known by name.

    Oldest first, from the first release that can be verified.
    """
    from hicache_impl.sglang import fetch

    named = {*releases.KNOWN, *releases.KNOWN_UNIFIED}
    offered = fetch.available_releases() or sorted(
        named.union(fetch.cached_releases()), key=releases.order
    )
    first = releases.order(releases.KNOWN[0])
    return tuple(release for release in offered if releases.order(release) >= first)
