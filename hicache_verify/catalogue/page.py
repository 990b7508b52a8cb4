"""The catalogue as a page for maintainers: what is not fixed in any release comes first."""

from __future__ import annotations

from collections.abc import Iterator

from hicache_verify.catalogue.entries import ENTRIES
from hicache_verify.catalogue.entry import Entry, NamedTrace, SourcePatch
from hicache_verify.catalogue.untraced import UNTRACED, Untraced
from hicache_verify.report.words import configuration_text, numbered

INTRODUCTION = """# Known defects

Defects of SGLang's caches that a command shows: `hicache-verify reproduce ID` plays the trace on an
affected release, on a fixed one, and with the patch in memory. `--out DIR` writes it as a file to
replay and, unless its entry says why not, as a test for SGLang's own folder: plain calls of the
cache's classes, which fail where the defect is, and pass on a fixed release and with the patch.
"""

UNTRACED_INTRODUCTION = """## Not fixed, and shown by a test alone

No operation of this tool reaches these; each has a test for SGLang's own folder, in
`hicache_verify/catalogue/upstream_tests/`.
"""


def defects_page(head: str) -> Iterator[str]:
    yield head + INTRODUCTION
    yield "## Not fixed in any release\n"
    for entry in ENTRIES:
        if not entry.fixed:
            yield from _section(entry)
    yield UNTRACED_INTRODUCTION
    for defect in UNTRACED:
        yield from _untraced(defect)
    yield "## Fixed\n"
    for entry in ENTRIES:
        if entry.fixed:
            yield from _section(entry)


def _section(entry: Entry) -> Iterator[str]:
    yield f"### {entry.identifier}: {entry.title}\n"
    until = f"; fixed in {entry.fixed[0]}" if entry.fixed else ""
    yield f"- Releases: {entry.affected[0]} to {entry.affected[-1]} ({entry.target}){until}"
    yield f"- Write policies: {', '.join(entry.write_policies)}"
    yield f"- Law: {', '.join(f'`{law}`' for law in entry.laws)}"
    if entry.references:
        yield f"- Public: {', '.join(entry.references)}"
    if entry.untested is not None:
        yield f"- No test in plain calls: {entry.untested}"
    yield f"\n{entry.story}\n"
    for trace in entry.traces:
        yield from _trace(trace)
    if entry.patch is not None:
        yield from _patch(entry.patch)


def _untraced(defect: Untraced) -> Iterator[str]:
    yield f"### {defect.identifier}: {defect.title}\n"
    yield f"- Releases: {', '.join(defect.affected)} ({', '.join(defect.targets)})"
    yield f"- Test: `{defect.upstream_test}`"
    yield f"\n{defect.story}\n"
    yield from _patch(defect.patch)


def _patch(patch: SourcePatch) -> Iterator[str]:
    yield "What mends it:\n"
    yield f"```diff\n# {patch.module}"
    yield from patch.diff()
    yield "```\n"


def _trace(trace: NamedTrace) -> Iterator[str]:
    since = f"From {trace.since} on. " if trace.since else ""
    yield f"{trace.tells} {since}({configuration_text(trace.configuration)})\n"
    yield from numbered(trace.operations)
    yield ""
