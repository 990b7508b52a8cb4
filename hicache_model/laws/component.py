"""How a law about a component beside full attention is declared.

Nothing is concluded where there is no such component.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from hicache_model.laws.law import Check, Violation, law
from hicache_model.laws.step import Step
from hicache_model.snapshot import ComponentState, Node, NodeComponent

Own = tuple[Node, NodeComponent]
Find = Callable[[Step, ComponentState, list[Own]], Iterator[Violation]]

COMPONENT_LAWS: set[str] = set()
"""The laws that say something only where there is a component."""


def component_law(
    identifier: str, sentence: str, *, taught_by: str, needs: Iterable[str] = ()
) -> Callable[[Find], Check]:
    """As ``law``, for a check that takes the component's state and its part of each node too."""
    COMPONENT_LAWS.add(identifier)

    def declare(find: Find) -> Check:
        def check(step: Step) -> Iterable[Violation]:
            state = step.after.component
            return () if state is None else find(step, state, own(step.family.nodes.values()))

        return law(identifier, sentence, taught_by=taught_by, needs=needs)(check)

    return declare


def own(nodes: Iterable[Node]) -> list[Own]:
    return [(node, node.component) for node in nodes if node.component is not None]


def weight(step: Step, node: Node) -> int:
    return step.configuration.component_weight(node.length)


def on_device(step: Step, nodes: list[Own]) -> int:
    """Slots of the component's pool that the values of ``nodes`` take."""
    return sum(weight(step, node) for node, mine in nodes if mine.device is not None)
