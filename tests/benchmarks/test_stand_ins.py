"""The machines that ours are compared with have the shape of ours."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
from hypothesis.stateful import INITIALIZE_RULE_MARKER, RULE_MARKER

from benchmarks.sessions import Example
from benchmarks.stand_ins import empty_like, offers_in
from hicache_model.configuration import Configuration
from hicache_model.dialects import Dialect
from hicache_model.operations import EvictDevice, Insert, Match, StartLoads
from stateful_tests.machines import MACHINES
from tests.verify.mimic import RELEASE

DIALECT = Dialect.of(RELEASE)

EXAMPLE = Example(Configuration(), (Match((1,)), Insert((1, 2)), EvictDevice(2), Match((1,))))


def shape(machine: Any) -> list[tuple[str, str, int]]:
    """Each rule with its arguments and how many preconditions it has."""
    rules = [
        getattr(member, marker)
        for _, member in inspect.getmembers(machine)
        for marker in (RULE_MARKER, INITIALIZE_RULE_MARKER)
        if hasattr(member, marker)
    ]
    assert len(rules) > 10
    return [
        (rule.function.__name__, repr(rule.arguments), len(rule.preconditions)) for rule in rules
    ]


@pytest.mark.parametrize("machine", MACHINES)
def test_an_empty_machine_has_the_rules_preconditions_and_arguments_of_ours(machine: Any) -> None:
    assert shape(empty_like(machine, [EXAMPLE], DIALECT)) == shape(machine)


def test_recorded_offers_are_those_of_the_menu_before_each_operation() -> None:
    offers = offers_in(EXAMPLE, DIALECT)
    assert len(offers) == len(EXAMPLE.operations)
    assert all(Match in some for some in offers)
    assert [EvictDevice in some for some in offers] == [False, False, True, True]
    assert not any(StartLoads in some for some in offers)
