"""The page that a sweep writes: the table, and a section for each distinct finding."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from hicache_model.dialects import CACHES
from hicache_verify import trace
from hicache_verify.campaigns.cells import kind_of
from hicache_verify.divergence import ALONE, Divergence
from hicache_verify.engine_laws import sentence
from hicache_verify.report.words import configuration_text, numbered
from hicache_verify.sweep.record import AGREES, DIVERGES, DOES_NOT_LOAD, Asked, CellDone, Found

HEAD = """# {title}

This page is generated: `{command}`.

Each cell is a run of {budget:g} seconds against the unmodified release: how many operations agreed,
or the laws that broke, each with the number of operations of its shortest trace. A finding is
explained below, with that trace. A rarer defect, such as some that `hicache-verify reproduce
--list` names, may not show in so short a run.
"""


BESIDE = {
    "full": "",
    "swa": " with sliding window attention",
    "mamba": " with Mamba states",
}
"""What is cached beside full attention."""


class Seen(NamedTuple):
    """A finding, and the cell that it is of."""

    done: CellDone
    found: Found


def page(cells: Sequence[CellDone], asked: Asked, command: str, folder: Path) -> str:
    """The whole page; ``folder`` is where the traces are."""
    beside = BESIDE[asked.component]
    sizes = " and ".join(map(str, asked.page_sizes))
    pages = "" if asked.page_sizes == (1,) else f", pages of {sizes} tokens"
    title = ", ".join([f"Releases{beside}{pages}", *kind_of(asked)])
    head = HEAD.format(title=title, command=command, budget=asked.budget)
    return "\n".join([head, table(cells), *absences(cells), *sections(cells, folder)])


# -- the table -------------------------------------------------------------------------------------


def table(cells: Sequence[CellDone]) -> str:
    policies = list(dict.fromkeys(done.cell.write_policy for done in cells))
    lines = ["| release | cache | core | " + " | ".join(policies) + " | day |"]
    lines.append("| --- | --- | --- | " + "--- | " * len(policies) + "--- |")
    for row in _rows(cells):
        if _absence(row) is None:
            said = {done.cell.write_policy: verdict(done) for done in row}
            columns = [said.get(policy, "") for policy in policies]
            day = max(done.day for done in row)
            lines.append(f"| {' | '.join([*_named(row[0]), *columns])} | {day} |")
    return "\n".join(lines) + "\n"


def _named(done: CellDone) -> tuple[str, str, str]:
    return done.cell.release, CACHES[done.cell.cache], done.cell.core or ""


def absences(cells: Iterable[CellDone]) -> Iterator[str]:
    """What does not load under any policy, and is no row of the table."""
    reasons: dict[tuple[str, str, str], list[str]] = {}
    for row in _rows(cells):
        why = _absence(row)
        if why is not None:
            release, cache, core = _named(row[0])
            alike = why.replace(f"sglang {release}", "sglang")
            reasons.setdefault((cache, core, alike), []).append(release)
    if reasons:
        yield "Not in the table, because it does not load:\n"
        for (cache, core, why), releases in reasons.items():
            of_core = f", {core} core" if core else ""
            yield f"- {cache}{of_core}, in {', '.join(releases)}: {why}."
        yield ""


def _absence(row: Sequence[CellDone]) -> str | None:
    """Why no cell of a row loads, where it is the same for all; else None."""
    reasons = {_why(done) if done.verdict == DOES_NOT_LOAD else None for done in row}
    return reasons.pop() if len(reasons) == 1 else None


def _why(done: CellDone) -> str:
    return (done.problem or "").partition(";")[0]  # what follows is advice


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
        return f"{done.verdict}: {_why(done)}".replace("|", "\\|")
    shortest: dict[str, int] = {}
    for found in done.found:
        law = found.divergence.law
        shortest[law] = min(found.length, shortest.get(law, found.length))
    return ", ".join(f"**{law}** ({length})" for law, length in shortest.items())


# -- the findings ----------------------------------------------------------------------------------


def sections(cells: Iterable[CellDone], folder: Path) -> Iterator[str]:
    groups: dict[tuple[str | None, ...], list[Seen]] = {}
    for done in cells:
        for found in done.found:
            identity = _identity(done.cell.cache, found.divergence)
            groups.setdefault(identity, []).append(Seen(done, found))
    yield "## Findings\n" if groups else "Nothing was found.\n"
    for (cache, law, where, _), members in groups.items():
        yield section(f"### {cache}: {law}{where}\n", members, folder)


def _identity(cache: str, broken: Divergence) -> tuple[str | None, ...]:
    """The cache, the law, an exception and who raised it, who stands alone; what it resembles."""
    where = ""
    if broken.exception:
        function = ":".join((broken.place or "?").split(":")[:2])
        where = f": {broken.exception} in {function}"
    if broken.stands_alone:
        where += f" (stands alone: {broken.stands_alone})"
    return CACHES[cache], broken.law, where, broken.resembles


def section(title: str, members: Sequence[Seen], folder: Path) -> str:
    shortest = min(members, key=lambda member: member.found.length)
    broken = shortest.found.divergence
    lines = [title, f"{sentence(broken.law) or ''}\n", f"- Seen in {_places(members)}."]
    if broken.resembles:
        lines.append(f"- Resembles {broken.resembles}.")
    if broken.stands_alone:
        lines.append(f"- Stands alone: {ALONE[broken.stands_alone]}.")
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
        yield f"- On {cell.release}: {found.divergence.message}; its trace could not be written.\n"
        return
    told = trace.read(folder / found.trace)
    extent = "" if found.minimized else " (not minimized)"
    yield f"- Shortest trace{extent}, on {cell.release}: {configuration_text(told.configuration)}\n"
    yield from numbered(told.operations)
    yield f"\n  Then: {found.divergence.message}.\n"
