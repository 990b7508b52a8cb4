"""``hicache-verify doctor``: is everything there that a run needs?"""

from __future__ import annotations

import sys
import textwrap
from typing import TYPE_CHECKING

import click

from hicache_verify.cli.codes import COULD_NOT_RUN
from hicache_verify.cli.options import CONTEXT, Asked, json_option, target_options, target_spec

if TYPE_CHECKING:
    from hicache_verify.health import Check

STYLES = {"ok": ("✓", "green"), "note": ("!", "yellow"), "bad": ("✗", "red")}
INDENT = 12


@click.command(context_settings=CONTEXT)
@target_options
@click.option("--details", is_flag=True, help="Versions of packages and modules that were loaded.")
@json_option
def doctor(as_json: bool, details: bool, asked: Asked) -> int:
    """Check Python, packages, cache and network; with a target, open it too.

    Exit code 0: ready; 2: something is missing.
    """
    from hicache_verify.health import checkup

    checks = checkup(target_spec(asked) if asked else None)
    found = _as_json(list(checks)) if as_json else [_show(check, details) for check in checks]
    return COULD_NOT_RUN if any(check.state == "bad" for check in found) else 0


def _show(check: Check, details: bool) -> Check:
    from rich.text import Text

    from hicache_verify.report.terminal import console

    out = console()
    mark, colour = STYLES[check.state]
    out.print(Text(f"{mark} ", colour) + Text(f"{check.name:<{INDENT - 2}}", "bold") + check.text)
    for line in check.details if details else ():
        margin = " " * INDENT
        wrapped = textwrap.wrap(line, out.width - INDENT, break_on_hyphens=False)
        out.print(Text("\n".join(margin + part for part in wrapped), "dim"))
    return check


def _as_json(checks: list[Check]) -> list[Check]:
    import attrs

    from hicache_verify.report import json_report

    json_report.write(sys.stdout, {"checks": [attrs.asdict(check) for check in checks]})
    return checks
