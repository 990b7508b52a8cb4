"""A cache that finds something wrong with itself diverges, but for a known false alarm."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from hicache_impl.native.target import NativeFactory
from hicache_model.configuration import Configuration
from hicache_model.dialects import Dialect
from hicache_model.operations import Insert, Match, Operation
from hicache_model.reference import Reference
from hicache_model.snapshot import Snapshot, Transfer
from hicache_verify.lockstep import LAW_INTERVAL, Lockstep
from hicache_verify.own_check import complaint


class Checked:
    """Our own cache, whose check complains of the node [7] as soon as that is there."""

    def __init__(self) -> None:
        self._real = NativeFactory()
        self.description = self._real.description

    def build(self, configuration: Configuration) -> Any:
        target: Any = self._real.build(configuration)
        target.own_check = lambda: (
            ("7 is odd",) if any(path.tokens == (7,) for path in target.observe().nodes) else ()
        )
        return target


@pytest.mark.parametrize("exact", [True, False])
def test_a_complaint_is_a_divergence_at_the_operation_that_it_begins_with(exact: bool) -> None:
    lockstep = Lockstep(Checked(), Configuration(), exact=exact)
    script: list[Operation] = [Insert((1,)), Insert((7,)), *[Match((1,))] * LAW_INTERVAL]
    found = [divergence for op in script if (divergence := lockstep.step(op)) is not None]
    assert found
    first = found[0]
    assert (first.law, first.oracle, first.step) == ("own-check", "target", 1)
    assert first.message == "the cache's own check complains: 7 is odd"


def test_a_cache_without_a_check_complains_of_nothing() -> None:
    target = NativeFactory().build(Configuration())
    assert complaint(target, Dialect.of("0.5.18"), target.observe()) is None


@pytest.mark.parametrize("words", ["Duplicate missing: [2]", "Full host coexistence missing: [2]"])
def test_the_false_alarm_is_tolerated_while_a_load_is_under_way_and_only_then(words: str) -> None:
    class Alarmed:
        def own_check(self) -> tuple[str, ...]:
            return (words, "and more")

    target: Any = Alarmed()
    dialect = Dialect.of("0.5.23", "unified")
    idle = Reference(Configuration(), dialect).snapshot()
    assert complaint(target, dialect, idle) == words
    assert complaint(target, dialect, _loading(idle)) == "and more"
    assert complaint(target, Dialect.of("0.5.17", "unified"), _loading(idle)) == words


@pytest.mark.parametrize(
    ("policy", "due"),
    [("write_back", "and more"), ("write_through", "node 2 backed up but parent")],
)
def test_a_parent_without_a_copy_is_a_false_alarm_under_write_back(policy: str, due: str) -> None:
    class Alarmed:
        configuration = Configuration(policy)

        def own_check(self) -> tuple[str, ...]:
            return ("node 2 backed up but parent 1 not backed up", "and more")

    target: Any = Alarmed()
    dialect = Dialect.of("0.5.12", "unified")
    said = complaint(target, dialect, Reference(target.configuration, dialect).snapshot())
    assert said is not None
    assert said.startswith(due)


def _loading(snapshot: Snapshot) -> Snapshot:
    return attrs.evolve(snapshot, transfers=(Transfer("load", False, ()),))
