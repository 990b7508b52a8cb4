"""What a target does not show is neither compared nor judged, and everything else is."""

from __future__ import annotations

import attrs
import pytest

from hicache_model.laws import LAWS, judge
from hicache_model.observations import (
    COMPONENT_HOST,
    LEAF_SETS,
    LOCKS,
    OF_COMPONENTS,
    OF_NODES,
    OF_TOTALS,
    ORDER,
    PINS,
    hidden,
    shown_like,
)
from hicache_model.snapshot import ComponentState, Node, NodeComponent, Path, Snapshot, Transfer
from tests.model.law_examples import EXAMPLES, Example

ALL = (LOCKS, PINS, LEAF_SETS, ORDER, COMPONENT_HOST)


def test_every_table_names_fields_that_exist() -> None:
    assert hidden(OF_NODES, ALL) <= {field.name for field in attrs.fields(Node)}
    assert hidden(OF_TOTALS, ALL) <= {field.name for field in attrs.fields(Snapshot)}
    parts = (*attrs.fields(NodeComponent), *attrs.fields(ComponentState))
    assert hidden(OF_COMPONENTS, ALL) <= {field.name for field in parts}
    assert {*OF_NODES, *OF_TOTALS, *OF_COMPONENTS} == set(ALL)
    assert {need for law in LAWS.values() for need in law.needs} <= set(ALL)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: f"{example.law}: {example.name}")
def test_a_law_is_judged_unless_it_needs_what_is_not_shown(example: Example) -> None:
    step = attrs.evolve(example.broken(), unobserved=ALL)
    expected = {law for law in (example.law, *example.also) if not LAWS[law].needs}
    assert {law.identifier for law, _ in judge(step)} == expected


def test_a_write_that_is_acknowledged_gives_no_lock_back_where_locks_are_not_shown() -> None:
    """A load back that is refused, and under write_back has waited for writes before."""
    example = next(e for e in EXAMPLES if e.name == "a refused load back leaves a pin behind")
    good = example.good()
    write = Transfer("write", True, (Path(None, (1,)),))
    assert good.before is not None
    step = attrs.evolve(
        good, before=attrs.evolve(good.before, transfers=(write,)), unobserved=(LOCKS, PINS)
    )
    assert not list(judge(step))
    seen = {law.identifier for law, _ in judge(attrs.evolve(step, unobserved=()))}
    assert "failed-step-changes-nothing" in seen


def test_a_node_of_a_report_differs_only_in_what_is_shown() -> None:
    path = Path(None, (1,))
    due = Node(path, 1, (1,), None, 2, 1, True, True, 3, 4, 5, 6)
    found = Node(path, 1, None, (7,), 0, 0, False, False)
    assert shown_like(found, due, ALL) == attrs.evolve(due, device=None, host=(7,))
    assert shown_like(found, due, (ORDER,)) == attrs.evolve(
        found, hit_count=3, priority=4, last_access=5, creation=6
    )
    assert shown_like(found, due, ()) is found
    assert shown_like(None, due, ALL) is None
    assert shown_like(found, None, ALL) is found
