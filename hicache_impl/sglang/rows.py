"""A table of what differs between releases: each row is one field's value, for a range of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

import attrs

from hicache_impl.sglang.releases import Range

T = TypeVar("T", bound=attrs.AttrsInstance)


@attrs.define(frozen=True, slots=True)
class Row:
    field: str
    releases: Range
    value: Any
    source: str


def chosen(kind: type[T], rows: Iterable[Row], version: str) -> T:
    """The row of each field that holds for ``version``; LookupError unless exactly one does."""
    held = [row for row in rows if version in row.releases]
    values: dict[str, Any] = {}
    for field in attrs.fields(kind):
        found = [row.value for row in held if row.field == field.name]
        if len(found) != 1:
            raise LookupError(f"{len(found)} rows for {field.name} of sglang {version}, not one")
        (values[field.name],) = found
    return kind(**values)
