"""Frozen attrs classes as plain JSON data, and back; the types of their fields are held to."""

from __future__ import annotations

import math
import types
import typing
from typing import Any, TypeVar

import attrs

from hicache_model import operations, outcomes

T = TypeVar("T")


def encode(value: Any) -> Any:
    """Classes as objects, operations and outcomes in their own form, tuples as lists."""
    for codec in (operations.codec, outcomes.codec):
        if type(value) in codec.names:
            return codec.encode(value)
    if attrs.has(type(value)):
        return {f.name: encode(getattr(value, f.name)) for f in attrs.fields(type(value))}
    if isinstance(value, tuple):
        return [encode(item) for item in value]
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()  # a half surrogate is no text
    return value


def decode(cls: type[T], data: Any) -> T:
    """The ``cls`` that ``encode`` made ``data`` of; ValueError, naming the field, for another."""
    found: T = _decode(cls, data)
    return found


def _decode(hint: Any, data: Any) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return _decode_one_of(arguments, data)
    if origin is tuple:
        return _decode_tuple(arguments, data)
    if hint is float and type(data) is int:
        return float(data)
    if hint in (int, float, str, bool):
        return _check(hint, data)
    if issubclass(hint, tuple):  # a NamedTuple
        return hint(*_decode_tuple(tuple(typing.get_type_hints(hint).values()), data))
    return _decode_class(hint, data)


def _check(kind: type, data: Any) -> Any:
    if type(data) is not kind or (isinstance(data, float) and not math.isfinite(data)):
        raise ValueError(f"expected {kind.__name__}, got {data!r:.60}")
    return data


def _decode_one_of(kinds: tuple[Any, ...], data: Any) -> Any:
    if data is None and type(None) in kinds:
        return None
    others = [kind for kind in kinds if kind is not type(None)]
    if len(others) == 1:
        return _decode(others[0], data)
    of_outcomes = isinstance(data, dict) and outcomes.codec.tag in data
    return (outcomes.codec if of_outcomes else operations.codec).decode(data)


def _decode_tuple(kinds: tuple[Any, ...], data: Any) -> tuple[Any, ...]:
    if type(data) is not list:
        raise ValueError(f"expected a list, got {data!r:.60}")
    if len(kinds) == 2 and kinds[1] is Ellipsis:
        kinds = (kinds[0],) * len(data)
    if len(kinds) != len(data):
        raise ValueError(f"expected a list of {len(kinds)}, got {data!r:.60}")
    return tuple(_decode(kind, item) for kind, item in zip(kinds, data, strict=True))


def _decode_class(cls: Any, data: Any) -> Any:
    names = [field.name for field in attrs.fields(cls)]
    if type(data) is not dict or sorted(data) != sorted(names):
        raise ValueError(f"expected an object with {', '.join(names)}, got {data!r:.60}")
    hints = typing.get_type_hints(cls)
    return cls(**{name: _decode_field(name, hints[name], data[name]) for name in names})


def _decode_field(name: str, hint: Any, data: Any) -> Any:
    try:
        return _decode(hint, data)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
