"""Attrs fields with strict validation, shared by every class of the vocabulary.

Only what a JSON file can hold is allowed in them, so that a trace is lossless and never evaluated.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs

MAX_TOKENS = 1 << 16
MAX_COUNT = 1 << 31


def _is_int(value: object) -> bool:
    return type(value) is int  # a bool is an int to Python, never to a trace


def _check_tokens(_: Any, field: attrs.Attribute[Any], value: Any) -> None:
    if type(value) is not tuple or not value:
        raise ValueError(f"{field.name} must be a non-empty list of token ids, got {value!r:.60}")
    if len(value) > MAX_TOKENS:
        raise ValueError(f"{field.name} holds {len(value)} tokens, more than {MAX_TOKENS}")
    for token in value:
        if type(token) is not int or not 0 <= token < MAX_COUNT:
            raise ValueError(
                f"{field.name} holds {token!r:.60}; a token id is an integer from 0 up"
            )


def _as_tuple(value: Any) -> Any:
    return tuple(value) if type(value) is list else value


def tokens() -> Any:
    """A non-empty tuple of token ids (a list is taken too)."""
    return attrs.field(converter=_as_tuple, validator=_check_tokens)


def _check_slots(_: Any, field: attrs.Attribute[Any], value: Any) -> None:
    if type(value) is not tuple or not all(_is_int(s) and 0 <= s <= MAX_COUNT for s in value):
        raise ValueError(f"{field.name} must be a list of integers from 0 up, got {value!r:.60}")


def slots() -> Any:
    """A tuple of slots (a list is taken too); they take no part in equality."""
    return attrs.field(default=(), eq=False, converter=_as_tuple, validator=_check_slots)


def integer(default: Any = attrs.NOTHING, *, least: int = 0, most: int = MAX_COUNT) -> Any:
    """An integer from ``least`` to ``most``."""

    def check(_: Any, field: attrs.Attribute[Any], value: Any) -> None:
        if not _is_int(value) or not least <= value <= most:
            raise ValueError(
                f"{field.name} must be an integer from {least} to {most}, got {value!r:.60}"
            )

    return attrs.field(default=default, validator=check)


def optional_integer(*, least: int = 0, most: int = MAX_COUNT) -> Any:
    """An integer from ``least`` to ``most``, or None (the default)."""

    def check(_: Any, field: attrs.Attribute[Any], value: Any) -> None:
        if value is not None and (not _is_int(value) or not least <= value <= most):
            raise ValueError(
                f"{field.name} must be null or an integer from {least} to {most}, got {value!r:.60}"
            )

    return attrs.field(default=None, validator=check)


def flag(default: bool) -> Any:
    """True or false."""

    def check(_: Any, field: attrs.Attribute[Any], value: Any) -> None:
        if type(value) is not bool:
            raise ValueError(f"{field.name} must be true or false, got {value!r:.60}")

    return attrs.field(default=default, validator=check)


def optional_text() -> Any:
    """A short string, or None (the default)."""

    def check(_: Any, field: attrs.Attribute[Any], value: Any) -> None:
        if value is not None and (type(value) is not str or not 0 < len(value) <= 256):
            raise ValueError(
                f"{field.name} must be null or a string of 1 to 256 characters, got {value!r:.60}"
            )

    return attrs.field(default=None, validator=check)


def choice(
    options: tuple[str, ...],
    default: Any = attrs.NOTHING,
    also: Callable[[str], bool] = lambda value: False,
) -> Any:
    """One of ``options``, or a string for which ``also`` holds."""

    def check(_: Any, field: attrs.Attribute[Any], value: Any) -> None:
        if type(value) is not str or not (value in options or also(value)):
            raise ValueError(f"{field.name} must be one of {', '.join(options)}; got {value!r:.60}")

    return attrs.field(default=default, validator=check)
