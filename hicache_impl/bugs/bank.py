"""The bank of planted bugs, by name."""

from __future__ import annotations

import difflib
from collections.abc import Mapping

from hicache_impl.bugs.answers import ANSWERS
from hicache_impl.bugs.bug import Bug
from hicache_impl.bugs.leaf_sets import LEAF_SETS
from hicache_impl.bugs.locks import LOCKS
from hicache_impl.bugs.memory import MEMORY
from hicache_impl.bugs.ordering import ORDERING
from hicache_impl.bugs.pairs import PAIRS
from hicache_impl.bugs.splits import SPLITS
from hicache_impl.bugs.transfers import TRANSFERS

BUGS = (*LEAF_SETS, *LOCKS, *MEMORY, *TRANSFERS, *SPLITS, *ORDERING, *ANSWERS, *PAIRS)
BANK: Mapping[str, Bug] = {bug.identifier: bug for bug in BUGS}


class UnknownBug(KeyError):
    """No planted bug has this name; says which have one like it."""

    def __init__(self, name: str) -> None:
        close = difflib.get_close_matches(name, BANK, n=3, cutoff=0.6)
        hint = f"; did you mean {' or '.join(close)}?" if close else ""
        self.message = f"unknown bug {name!r:.60}{hint} (`hicache-verify bugs --list` lists them)"
        super().__init__(self.message)

    def __str__(self) -> str:
        return self.message


def find(identifier: str) -> Bug:
    """The bug of this name; UnknownBug, a KeyError, where there is none."""
    try:
        return BANK[identifier]
    except KeyError:
        raise UnknownBug(identifier) from None


def quick_under(write_policy: str) -> tuple[Bug, ...]:
    """Bugs that a few hundred operations find under a write policy at page size 1 with lru."""
    return tuple(
        bug
        for bug in BANK.values()
        if bug.quick
        and write_policy in bug.write_policies
        and (bug.page_size, bug.eviction_policy, bug.bigram) == (1, "lru", False)
    )
