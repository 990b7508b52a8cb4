"""The entries by name: those with a public number in its order, then those without one."""

from __future__ import annotations

from collections.abc import Sequence

from hicache_verify.catalogue import hiradix, mamba, retraction, thinking, unified
from hicache_verify.catalogue.entry import Entry
from hicache_verify.catalogue.untraced import UNTRACED

ENTRIES: tuple[Entry, ...] = (
    hiradix.HOST_LEAF_STATUS,
    unified.UNFINISHED_EVICTION,
    unified.NOTHING_FREED,
    unified.LOAD_BACK_LIFETIME,
    hiradix.LOAD_BACK_LIFETIME,
    hiradix.NOTHING_FREED,
    unified.QUOTA_SIGN,
    unified.CHUNKS_NOT_BACKED_UP,
    hiradix.HOST_FULL_ASSERTION,
    hiradix.BACKUP_BELOW_A_GAP,
    unified.HITS_COUNTED_TWICE,
    unified.BACKUP_IN_VAIN,
    unified.SUFFIX_REFRESHED,
    unified.RUST_SUFFIX_REFRESHED,
    unified.RECLAIM_ORDER,
    unified.SHORT_WINDOW,
    unified.UNAWAITED_WINDOW,
    unified.RUST_SHORT_WINDOW,
    unified.RUST_UNAWAITED_WINDOW,
    mamba.CLEARED_STATE,
    mamba.RUST_CLEARED_STATE,
    retraction.UNAWAITED_LOAD,
    retraction.RUST_UNAWAITED_LOAD,
    mamba.STATE_AHEAD,
    mamba.RUST_STATE_AHEAD,
    thinking.STRIPPED_THINKING,
    thinking.RUST_STRIPPED_THINKING,
    thinking.SILENTLY_STRIPPED,
    thinking.RUST_SILENTLY_STRIPPED,
    thinking.HIRADIX_SILENTLY_STRIPPED,
)


class UnknownEntry(LookupError):
    """The catalogue has no such entry."""

    def __str__(self) -> str:
        return str(self.args[0])


def find(identifiers: Sequence[str]) -> tuple[Entry, ...]:
    """The entries with these identifiers (``19212`` or ``#19212``); UnknownEntry for another."""
    known = {entry.identifier: entry for entry in ENTRIES}
    alone = {defect.identifier: defect for defect in UNTRACED}
    found: dict[str, Entry] = {}
    for identifier in identifiers:
        number = identifier.removeprefix("#")
        if number in alone:
            raise UnknownEntry(
                f"{number} has no trace to play, as no operation reaches it; what shows it is the "
                f"test upstream_tests/{alone[number].upstream_test} (docs/defects.md)"
            )
        if number not in known:
            raise UnknownEntry(
                f"no entry {identifier!r:.60} in the catalogue; it has {', '.join(known)}"
            )
        found[number] = known[number]
    return tuple(found.values())
