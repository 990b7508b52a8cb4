"""Two caches side by side, as ``module:attribute`` targets. The Rust core shows less, as ever."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from hicache_impl.target import Description, TargetFactory
from hicache_model.observations import LEAF_SETS, LOCKS, ORDER, PINS
from hicache_verify.campaigns.canary import EquallyBlind
from tests.verify import hostile

HIDDEN = (LOCKS, PINS, LEAF_SETS, ORDER)


@attrs.frozen
class Pair:
    """Implements hicache_impl.target.SideBySide."""

    python: TargetFactory
    rust: TargetFactory

    @property
    def members(self) -> Mapping[str, TargetFactory]:
        return {"python": self.python, "rust": EquallyBlind(self.rust, HIDDEN)}

    @property
    def description(self) -> Description:
        members = {name: factory.description for name, factory in self.members.items()}
        return attrs.evolve(self.python.description, target="pair", members=members)


def native(bug: str | None) -> TargetFactory:
    """Imports torch, which takes its time in every process."""
    from hicache_impl.bugs import find
    from hicache_impl.native.target import NativeFactory

    return NativeFactory() if bug is None else find(bug).factory()


def pair(python: str | None = None, rust: str | None = None) -> Pair:
    """Our own cache twice, with these planted bugs."""
    return Pair(native(python), native(rust))


def agree() -> Pair:
    return Pair(hostile.agrees(), hostile.agrees())


def rust_raises() -> Pair:
    return Pair(hostile.agrees(), hostile.raises())


def rust_hangs() -> Pair:
    return Pair(hostile.agrees(), hostile.loops())


def python_dies() -> Pair:
    return Pair(hostile.exits(), hostile.agrees())


def both_die() -> Pair:
    return Pair(hostile.exits(), hostile.exits())


def rust_dies_and_python_raises() -> Pair:
    return Pair(hostile.raises(), hostile.exits())
