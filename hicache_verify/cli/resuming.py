"""``run --resume DIR``: which campaign goes on, and that nothing else was asked for meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import click
from click.core import ParameterSource

from hicache_verify.cli.options import TARGET_OPTIONS

if TYPE_CHECKING:
    from hicache_verify.campaigns.plan import Plan
    from hicache_verify.campaigns.record import Recorded


def _of_target(name: str, plan: Plan) -> Any:
    return getattr(plan.spec, name)


FIXED: dict[str, Callable[[Plan], Any]] = {
    "write_policy": lambda plan: plan.selection.write_policies,
    "page_size": lambda plan: plan.selection.page_sizes,
    "eviction_policy": lambda plan: plan.selection.eviction_policies,
    "component": lambda plan: plan.selection.component,
    "strip_thinking": lambda plan: plan.selection.strip_thinking,
    "bigram": lambda plan: plan.selection.bigram,
    "examples": lambda plan: plan.examples,
    "seed": lambda plan: plan.seed,
    "first": lambda plan: plan.first,
    "database": lambda plan: plan.database,
    "sources": lambda plan: plan.sources,
    **{name: partial(_of_target, name) for name in TARGET_OPTIONS},
}
"""What stays as it was begun, by the name of its option."""


def take_up(folder: Path, asked: Plan) -> tuple[Recorded, Plan]:
    """The campaign in ``folder`` and the plan it goes on with.

    Only budget, workers and coverage may change, coverage for what is still to come. A usage error
    where the options contradict what it was begun with.
    """
    from hicache_verify.campaigns.record import reopen
    from hicache_verify.trace import TraceError

    given = _given()
    try:
        recorded = reopen(folder)
    except TraceError as error:
        raise click.UsageError(f"--resume {error!s:.300}") from error
    _refuse_others(given, asked.anchored(), recorded.plan, folder)
    plan = recorded.plan
    if "workers" in given:
        plan = attrs.evolve(plan, workers=asked.workers)
    if "coverage" in given:
        plan = attrs.evolve(plan, coverage=asked.coverage)
    if "budget" in given:
        plan = attrs.evolve(plan, budget=_longer(plan, asked.budget))
    return recorded, plan


def _given() -> dict[str, str]:
    """The options that are on the command line, by name, as they are written there."""
    context = click.get_current_context()
    written = {str(param.name): param.opts[0] for param in context.command.params}
    return {
        name: option
        for name, option in written.items()
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE
    }


def _refuse_others(given: dict[str, str], asked: Plan, begun: Plan, folder: Path) -> None:
    for name, option in given.items():
        if name in FIXED and FIXED[name](asked) != FIXED[name](begun):
            raise click.UsageError(f"{option}: the campaign in {folder} was begun with another")
    if "out" in given:
        raise click.UsageError("--out: a campaign goes on where it was begun; leave it out")


def _longer(plan: Plan, budget: float | None) -> float:
    if plan.budget is None or budget is None:
        raise click.UsageError("--budget: the campaign was begun with --examples and no budget")
    if budget < plan.budget:
        raise click.UsageError(
            f"--budget {budget:g}: the campaign was begun with {plan.budget:g}, which can be"
            " extended but not shortened"
        )
    return budget
