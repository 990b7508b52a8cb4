"""Coverage for people and for machines: states by operations, and the goals with their counts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from hicache_model import operations as ops
from hicache_model.states import TIERS, NodeState
from hicache_verify.campaigns.coverage import PER, Coverage, Reached
from hicache_verify.reach import NOT_CACHED, Reach

HEADS = ("where", "locked", "pinned", "moving")
TIER_WORDS = dict(zip(TIERS, ("GPU", "both", "host"), strict=True))
TRANSFER_WORDS = {None: "", "write": "write", "queued load": "queue", "load": "load"}
LEGEND = (
    "How often an operation touched a node, by the node's state before: GPU, host or both, none\n"
    "where it was not cached; moving: a write in flight, a load queued or in flight; · never."
)


def tables(coverage: Coverage) -> RenderableType:
    """Everything, at most 100 columns wide."""
    whole = coverage.whole()
    goals = tuple(coverage.goals())
    reached = sum(goal.count > 0 for goal in goals)
    title = f"{reached} of {len(goals)} goals reached in {whole.operations.total():,} operations"
    return Group(
        Text("Operations by the state of a node", "bold"),
        Text(LEGEND, "dim"),
        _touched(whole, coverage.states()),
        Text(),
        Text(title, "bold"),
        _goals(goals, several=len(coverage.reaches) > 1),
    )


# -- states by operations --------------------------------------------------------------------------


def _touched(whole: Reach, states: tuple[NodeState, ...]) -> Table:
    """A row an operation; four lines above each column say the state."""
    table = Table(box=None, padding=(0, 1, 0, 0), show_header=False, pad_edge=False)
    for _ in range(len(states) + 3):
        table.add_column(no_wrap=True, justify="right")
    table.columns[0].justify = "left"
    for line, head in enumerate(HEADS):
        of = ("times",) if line == 0 else ("",)
        none = ("none",) if line == 0 else ("",)
        table.add_row(head, *of, *none, *(_words(state)[line] for state in states), style="bold")
    for name in ops.codec.classes:
        counts = [whole.touched[state, name] for state in (NOT_CACHED, *map(str, states))]
        times = _short(whole.operations[name])
        table.add_row(name.replace("_", " "), times, *map(_short, counts))
    return table


def _words(state: NodeState) -> tuple[str, str, str, str]:
    return (
        TIER_WORDS[state.tier],
        "lock" if state.locked else "",
        "pin" if state.host_locked else "",
        TRANSFER_WORDS[state.transfer],
    )


def _short(count: int) -> str:
    """At most four characters."""
    if count < 10_000:
        return str(count) if count else "·"
    return f"{count / 1e3:.0f}k" if count < 999_500 else f"{count / 1e6:.0f}M"


# -- goals -----------------------------------------------------------------------------------------


def _goals(goals: Sequence[Reached], *, several: bool) -> Table:
    """``several`` combinations: also how often in the one where it was reached least."""
    table = Table(box=box.SIMPLE_HEAD, padding=0, show_edge=False)
    table.add_column("goal", no_wrap=True)
    for head in ("times", f"in {PER:,}", *(("at least",) if several else ())):
        table.add_column(head, justify="right", no_wrap=True)
    table.add_column(no_wrap=True)
    for goal in goals:
        least = (f"{goal.least:.1f}",) if several else ()
        mark = Text(_mark(goal), "yellow")
        table.add_row(goal.goal.name, f"{goal.count:,}", f"{goal.rate:.1f}", *least, mark)
    return table


def _mark(goal: Reached) -> str:
    if goal.count == 0:
        return "never"
    return "rare" if goal.is_rare else ""


# -- for machines ----------------------------------------------------------------------------------


def as_data(coverage: Coverage) -> dict[str, Any]:
    """The ``coverage`` of the JSON report."""
    whole = coverage.whole()
    states = (NOT_CACHED, *map(str, coverage.states()))
    return {
        "operations": whole.operations.total(),
        "performed": {name: whole.operations[name] for name in ops.codec.classes},
        "states": {state: whole.states[state] for state in states if state != NOT_CACHED},
        "touched": dict(_touched_data(whole, states)),
        "goals": [_goal_data(goal) for goal in coverage.goals()],
    }


def _touched_data(whole: Reach, states: tuple[str, ...]) -> Iterator[tuple[str, dict[str, int]]]:
    for state in states:
        counts = {name: whole.touched[state, name] for name in ops.codec.classes}
        yield state, {name: count for name, count in counts.items() if count}


def _goal_data(reached: Reached) -> dict[str, Any]:
    return {
        "goal": reached.goal.name,
        "guards": reached.goal.guards,
        "where": str(reached.goal.where),
        "count": reached.count,
        "operations": reached.operations,
        "per_10000": round(reached.rate, 3),
        "least": {
            "write_policy": reached.rarest.write_policy,
            "page_size": reached.rarest.page_size,
            "eviction_policy": reached.rarest.eviction_policy,
            "per_10000": round(reached.least, 3),
        },
    }
