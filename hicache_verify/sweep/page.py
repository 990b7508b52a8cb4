"""The page that a sweep writes: the table, and a section for each distinct finding."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from hicache_model.dialects import CACHES
from hicache_model.operations import describe
from hicache_verify import trace
from hicache_verify.divergence import ALONE
from hicache_verify.engine_laws import sentence
from hicache_verify.report.words import configuration_text
from hicache_verify.sweep.record import AGREES, DIVERGES, CellDone, Found

HEAD = """# Releases

This page is generated: `{command}`.

Each cell is a run of {budget:g} seconds against the unmodified release: how many operations agreed,
or the laws that broke, each with the number of operations of its shortest trace. A finding is
explained below, with that trace.
"""


class Seen(NamedTuple):
    """A finding, and the cell that it is of."""

    done: CellDone
    found: Found


def page(cells: Sequence[CellDone], budget: float, command: str, folder: Path) -> str:
    """The whole page; ``folder`` is where the traces are."""
    head = HEAD.format(command=command, budget=budget)
    return "\n".join([head, table(cells), *sections(cells, folder)])


# -- the table -------------------------------------------------------------------------------------


def table(cells: Sequence[CellDone]) -> str:
    policies = list(dict.fromkeys(done.cell.write_policy for done in cells))
    lines = ["| release | cache | core | " + " | ".join(policies) + " | day |"]
    lines.append("| --- | --- | --- | " + "--- | " * len(policies) + "--- |")
    for row in _rows(cells):
        cell, said = row[0].cell, {done.cell.write_policy: verdict(done) for done in row}
        columns = [said.get(policy, "") for policy in policies]
        day = max(done.day for done in row)
        named = (cell.release, CACHES[cell.cache], cell.core or "")
        lines.append(f"| {' | '.join([*named, *columns])} | {day} |")
    return "\n".join(lines) + "\n"


def _rows(cells: Iterable[CellDone]) -> Iterable[list[CellDone]]:
    rows: dict[tuple[str, str, str | None], list[CellDone]] = {}
    for done in cells:
        key = (done.cell.release, done.cell.cache, done.cell.core)
        rows.setdefault(key, []).append(done)
    return rows.values()


def verdict(done: CellDone) -> str:
    if done.verdict == AGREES:
        return f"agrees ({done.operations:,} operations)"
    if done.verdict != DIVERGES:
        why = (done.problem or "").partition(";")[0]  # what follows is advice
        return f"{done.verdict}: {why}".replace("|", "\\|")
    shortest: dict[str, int] = {}
    for found in done.found:
        shortest[found.law] = min(found.length, shortest.get(found.law, found.length))
    return ", ".join(f"**{law}** ({length})" for law, length in shortest.items())


# -- the findings ----------------------------------------------------------------------------------


def sections(cells: Iterable[CellDone], folder: Path) -> Iterator[str]:
    groups: dict[tuple[str, str, str], list[Seen]] = {}
    for done in cells:
        for found in done.found:
            groups.setdefault(_identity(done, found), []).append(Seen(done, found))
    yield "## Findings\n" if groups else "Nothing was found.\n"
    for (cache, law, where), members in groups.items():
        yield section(f"### {cache}: {law}{where}\n", members, folder)


def _identity(done: CellDone, found: Found) -> tuple[str, str, str]:
    """The cache, the law, for an exception its class and who raised it, and who stands alone."""
    where = ""
    if found.exception:
        function = ":".join((found.place or "?").split(":")[:2])
        where = f": {found.exception} in {function}"
    if found.stands_alone:
        where += f" (stands alone: {found.stands_alone})"
    return CACHES[done.cell.cache], found.law, where


def section(title: str, members: Sequence[Seen], folder: Path) -> str:
    shortest = min(members, key=lambda member: member.found.length)
    known = sorted({found.resembles for _, found in members if found.resembles})
    lines = [title, f"{sentence(shortest.found.law) or ''}\n", f"- Seen in {_places(members)}."]
    if known:
        lines.append(f"- Resembles {', '.join(known)}.")
    if shortest.found.stands_alone:
        lines.append(f"- Stands alone: {ALONE[shortest.found.stands_alone]}.")
    return "\n".join([*lines, *_trace(shortest, folder)])


def _places(members: Iterable[Seen]) -> str:
    where: dict[str, list[str]] = {}
    for done, _ in members:
        where.setdefault(done.cell.release, []).append(done.cell.write_policy)
    return "; ".join(f"{release} ({', '.join(dict.fromkeys(p))})" for release, p in where.items())


def _trace(seen: Seen, folder: Path) -> Iterator[str]:
    """The trace, step by step; TraceError where its file is gone."""
    cell, found = seen.done.cell, seen.found
    if found.trace is None:
        yield f"- On {cell.release}: {found.message}; its trace could not be written.\n"
        return
    told = trace.read(folder / found.trace)
    extent = "" if found.minimized else " (not minimized)"
    yield f"- Shortest trace{extent}, on {cell.release}: {configuration_text(told.configuration)}\n"
    for number, operation in enumerate(told.operations, 1):
        yield f"{number}. {describe(operation)}"
    yield f"\n  Then: {found.message}.\n"
