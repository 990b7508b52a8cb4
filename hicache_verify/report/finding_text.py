"""One finding in words: styled lines that a terminal prints and a test compares."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from rich.text import Text

from hicache_impl.target import Description
from hicache_verify.divergence import NAMES
from hicache_verify.engine_laws import sentence
from hicache_verify.findings import Finding, FoundAfter
from hicache_verify.report import words

LONGEST = 20
"""Operations that are shown; of a longer trace the last ones are."""


def finding_text(finding: Finding, width: int, trace: str | None, again: str | None) -> Text:
    """The whole finding; ``trace`` is its file, ``again`` the command that runs it."""
    blocks = [
        list(_head(finding, width)),
        list(_what(finding, width)),
        list(_nodes(finding, width)),
        list(_operations(finding, width)),
        list(_foot(finding, trace, again)),
    ]
    lines = [line for block in blocks if block for line in (*block, Text())]
    return Text("\n").join(lines[:-1])


def after(found: FoundAfter) -> str:
    return (
        f"after {plural(found.examples, 'example')}, {plural(found.operations, 'operation')}, "
        f"{found.seconds:.1f} s"
    )


def not_compared(target: Description) -> Iterator[str]:
    """Of a target, or a core, that does not show everything: what nothing is concluded from."""
    if target.unobserved:
        unseen = ", ".join(target.unobserved)
        yield f"not compared, because this target does not show it: {unseen}"
    for core, member in target.members.items():
        if member.unobserved:
            unseen = ", ".join(member.unobserved)
            yield f"not compared on {NAMES.get(core, core)}, which does not show it: {unseen}"


def plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def _head(finding: Finding, width: int) -> Iterator[Text]:
    divergence = finding.divergence
    title = f"✗ {words.printable(divergence.law)}"
    when = after(finding.found_after)
    if not finding.minimized:
        when += ", not minimized"
    gap = " " * max(2, width - len(title) - len(when))
    yield Text.assemble((title, "bold red"), (gap + when, "dim"))
    law = sentence(divergence.law)
    if law:
        yield from _wrapped(law, width, "italic")


def _what(finding: Finding, width: int) -> Iterator[Text]:
    divergence = finding.divergence
    yield from _wrapped(words.printable(divergence.message), width, "bold")
    if divergence.who:
        yield from _wrapped(divergence.who, width, "bold yellow")
    if divergence.exception and divergence.place and divergence.place not in divergence.message:
        raised = f"{divergence.exception} at {divergence.place}"
        yield from _wrapped(words.printable(raised), width, "")
    where = words.configuration_text(finding.case.configuration)
    yield from _wrapped(f"cache: {where}", width, "dim")


def _nodes(finding: Finding, width: int) -> Iterator[Text]:
    if not finding.divergence.nodes:
        return
    rows = [("node", "should be", "is")]
    for pair in finding.divergence.nodes:
        texts = words.node_texts(pair.expected, pair.actual)
        rows.append((words.path_text(pair.path, width // 3), *texts))
    first, second = (max(len(row[column]) for row in rows) for column in (0, 1))
    for index, (name, due, found) in enumerate(rows):
        named, plain = ("bold", "") if index else ("dim", "dim")
        differs = "red" if index and found != due else plain
        yield Text.assemble(
            "  ", (f"{name:<{first}}  ", named), (f"{due:<{second}}  ", plain), (found, differs)
        )


def _operations(finding: Finding, width: int) -> Iterator[Text]:
    performed = finding.case.operations
    hidden = max(0, len(performed) - LONGEST)
    if hidden:
        yield Text(f"     … {plural(hidden, 'operation')} before, in the trace", "dim")
    for number, op in enumerate(performed[hidden:], hidden + 1):
        last = number == len(performed)
        text = words.operation_text(op, width - 8)
        mark = "✗ " if last else "  "
        yield Text.assemble(
            (mark, "bold red"), (f"{number:>3}  ", "dim"), (text, "bold" if last else "")
        )


def _foot(finding: Finding, trace: str | None, again: str | None) -> Iterator[Text]:
    rows = [
        ("resembles", finding.divergence.resembles),
        ("seen again", plural(finding.repeats, "time") if finding.repeats else None),
        ("trace", trace),
        ("again", again),
    ]
    for label, value in rows:
        if value:
            yield Text.assemble((f"  {label:<11}", "dim"), words.printable(value))


def _wrapped(text: str, width: int, style: str) -> Iterator[Text]:
    for line in textwrap.wrap(text, max(20, width - 2), break_on_hyphens=False):
        yield Text.assemble("  ", (line, style))
