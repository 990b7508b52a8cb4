"""Options that several commands share, and what they mean together."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from hicache_verify.targets import TargetSpec
    from hicache_verify.trace import Trace

F = TypeVar("F", bound=Callable[..., Any])

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


def comma_list(ctx: click.Context, param: click.Parameter, value: str) -> tuple[str, ...]:
    """``a,b``: at least one word, in the order given, none twice."""
    words = tuple(dict.fromkeys(word.strip() for word in value.split(",")))
    if not all(words):
        raise click.BadParameter(f"{value!r} has an empty place between its commas")
    return words


def sizes(ctx: click.Context, param: click.Parameter, value: str) -> tuple[int, ...]:
    """``1,4``: page sizes."""
    words = comma_list(ctx, param, value)
    if not all(word.isascii() and word.isdecimal() and len(word) < 10 for word in words):
        raise click.BadParameter(f"{value!r} is no list of page sizes such as 1,4")
    return tuple(int(word) for word in words)


def target_options(command: F) -> F:
    """Which cache: ``--target``, ``--release``, ``--source``, ``--installed``."""
    for option in reversed(
        (
            click.option(
                "--target", metavar="NAME", help="sglang (the default), native or module:callable."
            ),
            click.option("--release", metavar="V", help="A released version, such as 0.5.18."),
            click.option(
                "--source", metavar="DIR", help="The folder that holds the sglang package."
            ),
            click.option("--installed", is_flag=True, help="The package of this environment."),
        )
    ):
        command = option(command)
    return command


json_option = click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")


def target_spec(
    target: str | None, release: str | None, source: str | None, installed: bool
) -> TargetSpec:
    """What the target options name; a usage error where they contradict each other."""
    from hicache_verify.targets import BadTarget, TargetSpec

    try:
        return TargetSpec(target or "sglang", release, source, installed)
    except BadTarget as error:
        raise click.UsageError(str(error)) from error


def target_of_trace(
    trace: Trace, target: str | None, release: str | None, source: str | None, installed: bool
) -> TargetSpec:
    """What the options name, else what the trace was recorded on."""
    if target or release or source or installed:
        return target_spec(target, release, source, installed)
    if trace.target == "native":
        return target_spec("native", None, None, False)
    if trace.target != "sglang":
        raise click.UsageError(
            f"the trace is of target {trace.target!r:.60}; say with --target which"
        )
    return target_spec("sglang", trace.release, None, False)


def read_trace(path: Path) -> Trace:
    """The trace in a file; a usage error, with its line number, for anything else."""
    from hicache_verify import trace

    try:
        return trace.read(path)
    except trace.TraceError as error:
        raise click.ClickException(str(error)) from error
