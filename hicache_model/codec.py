"""The lossless JSON form of vocabulary objects: a dict that names the class and its fields.

``{"op": "insert", "tokens": [1, 2]}``. Fields at their default are left out; unknown ones are
refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Any, Generic, TypeVar

import attrs

T = TypeVar("T")


def snake_case(name: str) -> str:
    """``EvictDevice`` -> ``evict_device``."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


class Codec(Generic[T]):
    """Encodes and decodes one closed family of attrs classes.

    ``decode`` raises ValueError, naming the class and the field, for anything that is not exactly
    one of them.
    """

    def __init__(self, tag: str, classes: tuple[type[T], ...]) -> None:
        self.tag = tag
        self.names: dict[type[T], str] = {cls: snake_case(cls.__name__) for cls in classes}
        self.classes: dict[str, type[T]] = {name: cls for cls, name in self.names.items()}

    def encode(self, value: T) -> dict[str, Any]:
        data: dict[str, Any] = {self.tag: self.names[type(value)]}
        data.update(encode_fields(value))
        return data

    def decode(self, data: object) -> T:
        if not isinstance(data, Mapping):
            raise ValueError(f"expected an object with {self.tag!r}, got {data!r:.60}")
        name = data.get(self.tag)
        cls = self.classes.get(name) if isinstance(name, str) else None
        if cls is None:
            known = ", ".join(sorted(self.classes))
            raise ValueError(f"unknown {self.tag} {name!r:.60}; known are {known}")
        fields = {key: value for key, value in data.items() if key != self.tag}
        try:
            return decode_fields(cls, fields)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None


def encode_fields(value: Any) -> dict[str, Any]:
    """The fields that differ from their default, tuples as lists."""
    data: dict[str, Any] = {}
    cls: Any = type(value)
    for name, default in _defaults(cls):
        item = getattr(value, name)
        if item is not default and item != default:  # what has no default equals none
            data[name] = list(item) if isinstance(item, tuple) else item
    return data


@cache
def _defaults(cls: Any) -> tuple[tuple[str, Any], ...]:
    """The name of each field and its default."""
    return tuple((field.name, field.default) for field in attrs.fields(cls))


def decode_fields(cls: type[T], fields: Mapping[str, Any]) -> T:
    """``cls`` from a mapping of its fields; each field's own validator does the checking."""
    declared = {field.name: field for field in attrs.fields(cls)}  # type: ignore[arg-type]
    for name in fields:
        if name not in declared:
            raise ValueError(f"unknown field {name!r:.60}; known are {', '.join(declared)}")
    for name, field in declared.items():
        if field.default is attrs.NOTHING and name not in fields:
            raise ValueError(f"field {name!r} is missing")
    return cls(**fields)
