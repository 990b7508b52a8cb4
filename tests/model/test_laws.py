"""Every law speaks where it is broken and is silent where nothing is."""

from __future__ import annotations

from collections.abc import Iterator

import attrs
import pytest

from hicache_model import laws
from hicache_model.laws import LAWS, Law, Step, Violation, judge
from tests.model.component_examples import COMPONENT_EXAMPLES
from tests.model.law_examples import EXAMPLES as OF_FULL
from tests.model.law_examples import Example

EXAMPLES = (*OF_FULL, *COMPONENT_EXAMPLES)


def judged(step: Step) -> set[str]:
    return {law.identifier for law, _ in judge(step)}


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: f"{example.law}: {example.name}")
class TestExample:
    def test_the_good_twin_breaks_nothing(self, example: Example) -> None:
        found = [(law.identifier, violation.message) for law, violation in judge(example.good())]
        assert found == []

    def test_the_broken_step_breaks_the_law_and_what_cannot_hold_then(
        self, example: Example
    ) -> None:
        assert judged(example.broken()) == {example.law, *example.also}

    def test_what_it_says_is_one_line_about_nodes_that_somebody_knows(
        self, example: Example
    ) -> None:
        step = example.broken()
        known = set(step.after.nodes) | set(step.before.nodes if step.before else ())
        for _, violation in judge(step):
            assert violation.message
            assert "\n" not in violation.message
            assert set(violation.paths) <= known


def test_every_law_has_an_example() -> None:
    missing = LAWS.keys() - {example.law for example in EXAMPLES}
    assert not missing, (
        f"add to tests/model/law_examples.py, or component_examples.py, one for {sorted(missing)}"
    )
    assert {example.law for example in EXAMPLES} <= LAWS.keys()


@pytest.mark.parametrize("law", LAWS.values(), ids=LAWS)
def test_laws_about_a_step_need_no_snapshot_before(law: Law) -> None:
    for example in EXAMPLES:
        assert not list(law.check(attrs.evolve(example.good(), before=None)))


def test_violations_come_in_the_order_of_the_laws() -> None:
    order = list(LAWS)
    for example in EXAMPLES:
        positions = [order.index(law.identifier) for law, _ in judge(example.broken())]
        assert positions == sorted(positions)


def test_a_law_is_declared_once() -> None:
    with pytest.raises(ValueError, match="law sizes is declared twice"):

        @laws.law("sizes", "Sizes are sizes.", taught_by="this test")
        def _again(step: Step) -> Iterator[Violation]:
            return iter(())


def test_a_law_is_a_sentence() -> None:
    with pytest.raises(ValueError, match="full stop"):
        Law("some-law", "No full stop", "this test", lambda step: ())
