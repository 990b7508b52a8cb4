"""Options that several commands share, and what they mean together."""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, cast

import click

from hicache_model.configuration import COMPONENTS

if TYPE_CHECKING:
    from hicache_verify.targets import TargetSpec
    from hicache_verify.trace import Trace

F = TypeVar("F", bound=Callable[..., Any])

Asked: TypeAlias = Mapping[str, Any]
"""The target options that were given, by name."""

MOST_WORKERS = 1024

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


TARGET_OPTIONS: dict[str, Callable[[Any], Any]] = {
    "target": click.option(
        "--target", metavar="NAME", help="sglang (the default), native or module:callable."
    ),
    "release": click.option("--release", metavar="V", help="A released version, such as 0.5.18."),
    "source": click.option(
        "--source", metavar="DIR", help="The folder that holds the sglang package."
    ),
    "installed": click.option(
        "--installed", is_flag=True, default=None, help="The package of this environment."
    ),
    "cache": click.option(
        "--cache", type=click.Choice(["hiradix", "unified"]), help="Which of the release's caches."
    ),
    "core": click.option(
        "--core",
        type=click.Choice(["python", "rust", "both"]),
        help="The tree core of the unified cache; both compares them.",
    ),
    "device": click.option(
        "--device", metavar="cpu|cuda[:N]", help="Where native keeps its device tier."
    ),
    "bug": click.option(
        "--bug", metavar="ID", help="With --target native: plant this bug (see bugs --list)."
    ),
}
"""Each under the field of TargetSpec that it gives."""

NATIVE_OPTIONS = frozenset({"device", "bug", "policy"})
"""Those that only our own cache has."""


class Seconds(click.FloatRange):
    """A budget: a number from 0.1 to ten million, which nan is not."""

    def __init__(self) -> None:
        super().__init__(0.1, 10**7)

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        found: float = super().convert(value, param, ctx)
        if math.isnan(found):
            self.fail(f"{value!r} is no number of seconds", param, ctx)
        return found


def target_options(command: F) -> F:
    """Which cache: the command gets ``asked``, what was given of ``TARGET_OPTIONS``."""

    @functools.wraps(command)
    def gathered(**options: Any) -> Any:
        given = {name: options.pop(name) for name in TARGET_OPTIONS}
        asked = {name: value for name, value in given.items() if value is not None}
        return command(asked=asked, **options)

    found: Any = gathered
    for option in reversed(TARGET_OPTIONS.values()):
        found = option(found)
    return cast(F, found)


policy_option = click.option(
    "--eviction-policy",
    "policy",
    metavar="FILE.py:NAME",
    help="Native, with your own policy; a trace never runs code by itself.",
)

page_size_option = click.option(
    "--page-size",
    callback=sizes,
    default="1",
    show_default=True,
    metavar="N[,N]",
    help="Tokens a page.",
)

component_option = click.option(
    "--component",
    type=click.Choice(COMPONENTS),
    default=COMPONENTS[0],
    show_default=True,
    help="What is cached beside full attention: swa is sliding window attention, mamba are states.",
)

strip_thinking_option = click.option(
    "--strip-thinking",
    is_flag=True,
    help="As in servers with --strip-thinking-cache, where every request thinks (0.5.11 on).",
)

bigram_option = click.option(
    "--bigram",
    is_flag=True,
    help="Keys are pairs of neighbouring tokens, as with EAGLE speculative decoding (is_eagle).",
)

workers_option = click.option(
    "--workers",
    type=click.IntRange(1, MOST_WORKERS),
    metavar="N",
    help="Processes that explore at the same time.  [default: one a core]",
)

json_option = click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")


def target_spec(asked: Asked) -> TargetSpec:
    """What the target options name; a usage error where they contradict each other."""
    from hicache_verify.targets import BadTarget, TargetSpec

    try:
        return TargetSpec(**asked)
    except BadTarget as error:
        raise click.UsageError(str(error)) from error


def with_own_policy(asked: Asked, policies: tuple[str, ...]) -> Asked:
    """The target options, and the policy among ``policies`` that is code of the user's."""
    from hicache_model.policies import is_own_name

    own = list(filter(is_own_name, policies))
    if len(own) > 1:
        raise click.UsageError(f"one policy of your own at a time; {len(own)} were given")
    return {**asked, "policy": own[0]} if own else asked


def trace_with_policy(trace: Trace, asked: Asked, policy: str | None) -> tuple[Trace, TargetSpec]:
    """The trace under the policy of the user's, if one is given, and the target to run it on."""
    if policy is None:
        return trace, target_of_trace(trace, asked)
    asked = with_own_policy(asked, (policy,))
    try:
        configuration = trace.configuration.with_(eviction_policy=policy)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    return trace.with_(configuration=configuration), target_of_trace(trace, asked)


def target_of_trace(trace: Trace, asked: Asked) -> TargetSpec:
    """What the options name, else what the trace was recorded on."""
    from hicache_verify.targets import SGLANG_NAMES, recorded_on

    if trace.target == "native" and set(asked) <= NATIVE_OPTIONS:
        planted = trace.provenance.get("bug")
        bug = {} if planted is None else {"bug": str(planted)}
        return target_spec({"target": "native", **bug, **asked})
    if trace.target in SGLANG_NAMES and not {"target", "cache", "core"} & set(asked):
        recorded = recorded_on(trace.target, trace.release)
        where = asked or {"release": trace.release}
        return target_spec({"target": recorded.target, "cache": recorded.cache, **where})
    if asked:
        return target_spec(asked)
    raise click.UsageError(f"the trace is of target {trace.target!r:.60}; say with --target which")


def read_trace(path: Path) -> Trace:
    """The trace in a file; a usage error, with its line number, for anything else."""
    from hicache_verify import trace

    try:
        return trace.read(path)
    except trace.TraceError as error:
        raise click.ClickException(str(error)) from error


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
