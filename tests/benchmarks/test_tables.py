"""Tables of results in their three forms."""

from __future__ import annotations

from rich.console import Console

from benchmarks.tables import Column, Table

TABLE = Table(
    "Speed",
    (Column("name", "what runs"), Column("cost", "µs", "{:,.1f}")),
    (("the target alone", 1234.56), ("nothing", None)),
    ("One thread.",),
)


def test_documents_get_a_markdown_table_with_numbers_to_the_right() -> None:
    assert TABLE.for_documents() == (
        "## Speed\n\n"
        "| what runs | µs |\n"
        "| --- | ---: |\n"
        "| the target alone | 1,234.6 |\n"
        "| nothing | - |\n\n"
        "One thread.\n"
    )


def test_machines_get_the_numbers_themselves() -> None:
    rows = TABLE.for_machines()["rows"]
    assert rows == [
        {"name": "the target alone", "cost": 1234.56},
        {"name": "nothing", "cost": None},
    ]


def test_people_get_title_rows_and_notes() -> None:
    console = Console(width=80, record=True, file=None)
    with console.capture() as shown:
        console.print(TABLE.for_people())
    assert all(words in shown.get() for words in ("Speed", "the target alone", "1,234.6", "One"))
