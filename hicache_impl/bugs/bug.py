"""What a planted bug is: our cache with some of its classes replaced, and where that shows."""

from __future__ import annotations

import re
from typing import Any

import attrs

from hicache_impl.native.cache import HierarchicalCache
from hicache_impl.native.parts import Kinds
from hicache_impl.native.requests import Scheduler
from hicache_impl.native.target import NativeFactory

WRITE_BACK = ("write_back",)
WRITING_THROUGH = ("write_through", "write_through_selective")
ANY_WRITE_POLICY = (*WRITE_BACK, *WRITING_THROUGH)

IDENTIFIER = re.compile(r"[a-z0-9]+(-[a-z0-9]+)+")


def _check_identifier(_: Any, field: attrs.Attribute[Any], value: str) -> None:
    if not IDENTIFIER.fullmatch(value):
        raise ValueError(f"a bug is named by a few words such as host-leaf-asks-evicted: {value!r}")


def _check_sentence(_: Any, field: attrs.Attribute[Any], value: str) -> None:
    if not value.endswith("."):
        raise ValueError(f"{field.name} needs a full stop at its end: {value!r}")


@attrs.frozen(kw_only=True)
class Bug:
    """``sentence`` says what is wrong, ``imitates`` which public bug it is like, and ``law`` what
    it breaks: a finding of it bears that name and no other.

    It shows under each of ``write_policies`` with this page size, eviction policy,
    ``strip_thinking`` and ``bigram``; the first one is where it is looked for. ``length`` is how
    many operations the minimized trace has. ``quick`` says that in each of its cells a few hundred
    operations are enough.
    """

    identifier: str = attrs.field(validator=_check_identifier)
    sentence: str = attrs.field(validator=_check_sentence)
    imitates: str
    law: str
    write_policies: tuple[str, ...]
    page_size: int = 1
    eviction_policy: str = "lru"
    strip_thinking: bool = False
    bigram: bool = False
    length: int
    quick: bool = False
    kinds: Kinds = attrs.field(factory=Kinds)
    cache: type[HierarchicalCache] = HierarchicalCache
    scheduler: type[Scheduler] = Scheduler

    def factory(self, **options: Any) -> NativeFactory:
        """Makes targets that have the bug; ``options`` are those of NativeFactory."""
        return NativeFactory(
            kinds=self.kinds,
            cache=self.cache,
            scheduler=self.scheduler,
            bug=self.identifier,
            **options,
        )
