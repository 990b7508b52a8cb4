"""What an exploration tries: how many token ids, how long a list, and which operations."""

from __future__ import annotations

from typing import TypeAlias

import attrs

from hicache_model.operations import Operation

Operations: TypeAlias = tuple[Operation, ...]

BASE = ("insert", "match", "evict", "load back", "start and complete transfers", "reset")

EXTRAS = ("locks", "requests", "chunked", "namespaces", "priorities")
"""What an alphabet may have besides; each multiplies the states."""


class UnknownExtra(ValueError):
    """The alphabet has no such part."""


@attrs.frozen
class Bound:
    """``tokens`` different token ids, lists of up to ``depth`` operations.

    ``extras`` widen the alphabet. Without ``join`` every list is tried to its end, even where
    another has led to the same state. Raises UnknownExtra.
    """

    depth: int
    tokens: int = 2
    extras: tuple[str, ...] = ()
    join: bool = True

    def __attrs_post_init__(self) -> None:
        for extra in self.extras:
            if extra not in EXTRAS:
                known = ", ".join(EXTRAS)
                raise UnknownExtra(f"the alphabet has no {extra!r:.60}; it may have {known}")

    @property
    def alphabet(self) -> tuple[str, ...]:
        """The operations, in words."""
        return (*BASE, *(extra for extra in EXTRAS if extra in self.extras))
