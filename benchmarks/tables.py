"""A table of results, and its three forms: for people, for documentation, for machines."""

from __future__ import annotations

from typing import Any, TypeAlias

import attrs
from rich.table import Table as RichTable

from hicache_impl.target import TargetFactory

Value: TypeAlias = str | int | float | None


def name_of(factory: TargetFactory) -> str:
    """What is measured, for a title."""
    description = factory.description
    return f"{description.target} {description.release}"


@attrs.frozen
class Column:
    """``key`` names it for machines; ``form`` is how its values are shown to people."""

    key: str
    heading: str
    form: str = "{}"

    def show(self, value: Value) -> str:
        return "-" if value is None else self.form.format(value)


@attrs.frozen
class Table:
    """Results of one section, with what a reader has to know about them."""

    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Value, ...], ...]
    notes: tuple[str, ...] = ()

    def for_machines(self) -> dict[str, Any]:
        keys = [column.key for column in self.columns]
        rows = [dict(zip(keys, row, strict=True)) for row in self.rows]
        return {"title": self.title, "rows": rows, "notes": list(self.notes)}

    def for_people(self) -> RichTable:
        table = RichTable(title=self.title, title_justify="left", caption_justify="left")
        table.caption = "\n".join(self.notes)
        for column, is_text in zip(self.columns, self._texts(), strict=True):
            table.add_column(
                column.heading, justify="left" if is_text else "right", no_wrap=is_text
            )
        for row in self._shown():
            table.add_row(*row)
        return table

    def for_documents(self) -> str:
        """Markdown."""
        rules = ["---" if is_text else "---:" for is_text in self._texts()]
        lines = [[column.heading for column in self.columns], rules, *self._shown()]
        table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        return "\n\n".join([f"## {self.title}", table, *self.notes]) + "\n"

    def _shown(self) -> list[list[str]]:
        return [
            [column.show(value) for column, value in zip(self.columns, row, strict=True)]
            for row in self.rows
        ]

    def _texts(self) -> list[bool]:
        """For each column whether it holds words."""
        return [isinstance(value, str) for value in self.rows[0]] if self.rows else []
