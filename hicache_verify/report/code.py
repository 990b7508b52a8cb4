"""Python source from data, laid out as ``ruff format`` leaves it."""

from __future__ import annotations

from typing import Any, TypeAlias

import attrs

from hicache_model.configuration import Configuration
from hicache_model.operations import Operation

WIDTH = 88
"""What formatters take where a project says nothing; a wider setting leaves it as it is."""


@attrs.define(frozen=True, slots=True)
class Group:
    """``head(item, item)``; with other brackets, or without a head, a list or a tuple."""

    head: str
    items: tuple[Code, ...]
    brackets: str = "()"


Code: TypeAlias = str | Group


def one_line(code: Code) -> str:
    if isinstance(code, str):
        return code
    inner = ", ".join(map(one_line, code.items))
    only = not code.head and code.brackets == "()" and len(code.items) == 1
    return f"{code.head}{code.brackets[0]}{inner}{',' if only else ''}{code.brackets[1]}"


def layout(code: Code, indent: int = 0, before: str = "", after: str = "") -> str:
    """The code, with what stands before and after it, broken where it does not fit.

    A broken group has one item a line and a comma at the end, which formatters leave alone.
    """
    margin = " " * indent
    whole = f"{margin}{before}{one_line(code)}{after}"
    if isinstance(code, str) or not code.items or len(whole) <= WIDTH:
        return whole
    items = [layout(item, indent + 4, after=",") for item in code.items]
    first = f"{margin}{before}{code.head}{code.brackets[0]}"
    return "\n".join([first, *items, f"{margin}{code.brackets[1]}{after}"])


def quoted(text: str) -> str:
    """A string literal in ASCII, in the quotes that need fewer escapes."""
    double, single = text.count('"'), text.count("'")
    quote = '"' if double <= single else "'"
    body = ascii('"' + text)[2:-1].replace("\\'", "'")  # with a " inside, ascii() quotes with '
    return f"{quote}{body.replace(quote, chr(92) + quote)}{quote}"


def literal(value: Any) -> Code:
    """A value of the vocabulary: numbers, strings, tuples of numbers, operations."""
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, tuple):
        return Group("", tuple(map(literal, value)))
    if attrs.has(type(value)):
        return constructor(value)
    return repr(value)


def constructor(value: Configuration | Operation) -> Group:
    """``Insert((1, 2), priority=3)``: required fields in order, the others where unusual."""
    items: list[Code] = []
    for field in attrs.fields(type(value)):
        item = getattr(value, field.name)
        if field.default is attrs.NOTHING:
            items.append(literal(item))
        elif item != field.default:
            items.append(f"{field.name}={one_line(literal(item))}")
    return Group(type(value).__name__, tuple(items))


def integers(values: tuple[int, ...]) -> Code:
    """A list of integers; a long run of neighbours as ``list(range(a, b))``."""
    first, end = values[0], values[0] + len(values)
    if len(values) > 8 and values == tuple(range(first, end)):
        return f"list(range({first}, {end}))"
    return Group("", tuple(map(str, values)), "[]")
