"""A difference between two states, and how those in named values of both are found."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import Any, TypeAlias

import attrs

from hicache_model.snapshot import Path

Values: TypeAlias = tuple[tuple[str, str, str, Callable[[Any], Any]], ...]
"""Of each value: its attribute, the law that it breaks, its name, and what of it is compared."""


@attrs.define(frozen=True, slots=True)
class Difference:
    """One way in which two states part: the law it breaks, a sentence, the nodes concerned."""

    law: str
    message: str
    paths: tuple[Path, ...] = ()


def itself(value: Any) -> Any:
    return value


def explain_values(
    values: Values,
    expected: Any,
    actual: Any,
    unseen: Collection[str],
    say: Callable[[Any], str] = str,
) -> Iterator[Difference]:
    """What differs of ``values``, but for those that are not shown."""
    for attribute, law, name, shown in values:
        if attribute in unseen:
            continue
        due, found = shown(getattr(expected, attribute)), shown(getattr(actual, attribute))
        if due != found:
            yield Difference(law, f"{name}: {say(found)}, due {say(due)}")
