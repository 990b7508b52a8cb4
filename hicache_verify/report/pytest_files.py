"""A finding as pytest files: one that replays it with this tool, one in plain calls.

The second imports SGLang only and can be pasted into its test folder.
"""

from __future__ import annotations

import functools
import re
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2

from hicache_model.configuration import Configuration
from hicache_model.laws import LAWS
from hicache_model.policies import TLRU_ESTIMATE, TLRU_THRESHOLD, is_own_name, tlru
from hicache_verify.divergence import Divergence
from hicache_verify.report import words
from hicache_verify.report.code import WIDTH, Group, constructor, layout, quoted
from hicache_verify.report.forms import FORMS, HIRADIX
from hicache_verify.report.upstream import plan
from hicache_verify.targets import NATIVE, SGLANG_BOTH
from hicache_verify.trace import Trace

REPLAY, UPSTREAM = "replay", "upstream"


def write_pytest_files(
    folder: Path,
    name: str,
    trace: Trace,
    divergence: Divergence | None,
    forms: Sequence[str] = (REPLAY, UPSTREAM),
) -> tuple[Path, ...]:
    """``test_<name>_<form>.py`` for each form; what is there is replaced.

    Two cores side by side have no plain calls.
    """
    written = []
    for form in forms:
        if form == UPSTREAM and trace.target == SGLANG_BOTH:
            continue
        path = folder / f"test_{identifier(name)}_{form}.py"
        make = replay_file if form == REPLAY else upstream_file
        path.write_text(make(trace, divergence, name), encoding="utf-8")
        written.append(path)
    return tuple(written)


def replay_file(trace: Trace, divergence: Divergence | None, name: str) -> str:
    """The trace as literal operations, played in lockstep with the model on a release."""
    used = sorted({type(op).__name__ for op in trace.operations})
    operations = Group("", tuple(map(constructor, trace.operations)))
    bug = trace.provenance.get("bug")
    literal = Group("Trace", (constructor(trace.configuration), "TARGET", "RELEASE", operations))
    return _render(
        "replay.py.j2",
        **_about(trace, divergence, name),
        operations_import=_import("hicache_model.operations", used),
        target=quoted(trace.target),
        release=quoted(trace.release),
        bug=None if bug is None else quoted(str(bug)),
        spec=_spec(trace),
        trace=layout(literal, before="TRACE = "),
    )


def _spec(trace: Trace) -> str | None:
    """Our own cache has no releases, but perhaps a bug and a policy of the user's."""
    if trace.target != NATIVE:
        return None
    given = ["TARGET"]
    if "bug" in trace.provenance:
        given.append("bug=BUG")
    if is_own_name(trace.configuration.eviction_policy):
        given.append("policy=TRACE.configuration.eviction_policy")
    return f"TargetSpec({', '.join(given)})"


def upstream_file(trace: Trace, divergence: Divergence | None, name: str) -> str:
    """The operations as plain calls on the release's own classes, and the law in plain code."""
    form = FORMS.get(trace.target, HIRADIX)
    planned = plan(trace, divergence, form)
    paged = trace.configuration.page_size > 1
    names = {n for n in planned.used if n.endswith("Params")}
    return _render(
        f"{form.cache}.py.j2",
        **_about(trace, divergence, name),
        class_name=class_name(name),
        allocator="PagedTokenToKVPoolAllocator" if paged else "TokenToKVPoolAllocator",
        configuration=trace.configuration,
        release=trace.release,
        origin=words.printable(f"{trace.target} {trace.release}"),
        statements=planned.statements,
        facts=planned.facts,
        law=planned.law,
        used=planned.used,
        comments=[_comment(sentence) for sentence in planned.comments],
        ways=planned.ways,
        tlru=_in_tokens(trace.configuration),
        cache=form.cache,
        core=form.core,
        root=form.root,
        has_requests="begin" in planned.used,
        has_salts=planned.has_salts,
        paged=paged,
        params_import=_import("sglang.srt.mem_cache.base_prefix_cache", sorted(names)),
    )


def _in_tokens(configuration: Configuration) -> str | None:
    """The parameters of tlru, as a release takes them; None for other policies."""
    if configuration.eviction_policy != tlru.__name__:
        return None
    page = configuration.page_size
    threshold, estimate = TLRU_THRESHOLD * page, TLRU_ESTIMATE * page
    return f'{{"threshold": {threshold}, "next_prompt_estimate": {estimate}}}'


def identifier(name: str) -> str:
    """``host-leaves-1`` -> ``host_leaves_1``."""
    return re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_").lower() or "finding"


def class_name(name: str) -> str:
    """``host-leaves-1`` -> ``TestHostLeaves1``; numbers side by side stay apart."""
    words = "".join(part.title() for part in re.split(r"(?<!\d)_|_(?!\d)", identifier(name)))
    return f"Test{words}"


def _about(trace: Trace, divergence: Divergence | None, name: str) -> dict[str, Any]:
    """What both files say of the finding."""
    where = f"{trace.target} {trace.release}"
    if divergence is None:
        headline, story = f"{len(trace.operations)} operations on {where}.", "Nothing diverges."
    else:
        law = LAWS.get(divergence.law)
        headline = f"{divergence.law}: {law.sentence}" if law else f"{divergence.law} on {where}."
        story = "; ".join(filter(None, [divergence.message, divergence.who]))
    return {
        "name": identifier(name),
        "headline": _prose(headline, 3),
        "story": _prose(story, 0),
    }


def _prose(text: str, indent: int) -> str:
    """For a docstring: wrapped, printable ASCII, nothing that could end it or begin an escape."""
    safe = "".join(map(_plain, text.replace('"', "'")))
    return textwrap.fill(safe, WIDTH, initial_indent=" " * indent)[indent:]


def _plain(character: str) -> str:
    """Other characters by their number: wherever a line breaks, a number cannot do harm."""
    is_plain = character.isascii() and character.isprintable() and character != "\\"
    return character if is_plain else f"U+{ord(character):04X}"


def _comment(text: str) -> str:
    return textwrap.fill(
        text, WIDTH, initial_indent=" " * 8 + "# ", subsequent_indent=" " * 8 + "# "
    )


def _import(module: str, names: list[str]) -> str:
    """``from module import a, b``, in brackets where it is long; nothing for no names."""
    line = f"from {module} import {', '.join(names)}"
    if len(line) <= WIDTH or not names:
        return line if names else ""
    return layout(Group("", tuple(names)), before=f"from {module} import ")


def _render(template: str, **values: Any) -> str:
    return _templates().get_template(template).render(**values)


@functools.cache
def _templates() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.PackageLoader("hicache_verify.report", "templates"),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
        autoescape=False,
    )
