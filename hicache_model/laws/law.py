"""A law: its sentence, the public bug that taught it, and its check."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import attrs

from hicache_model.laws.step import Step
from hicache_model.snapshot import Path


@attrs.define(frozen=True, slots=True)
class Violation:
    """What breaks a law, in one sentence, and the nodes that it is about."""

    message: str
    paths: tuple[Path, ...] = ()


Check = Callable[[Step], Iterable[Violation]]


@attrs.define(frozen=True, slots=True)
class Law:
    """A law; ``identifier`` is what reports, traces and gates name it by.

    ``needs`` are observations (observations.py) without which nothing can be concluded.
    """

    identifier: str
    sentence: str
    taught_by: str
    check: Check
    needs: frozenset[str] = frozenset()

    def __attrs_post_init__(self) -> None:
        if not self.sentence.endswith("."):
            raise ValueError(f"law {self.identifier} needs a sentence that ends with a full stop")


LAWS: dict[str, Law] = {}


def law(
    identifier: str, sentence: str, *, taught_by: str, needs: Iterable[str] = ()
) -> Callable[[Check], Check]:
    """Declare the function below as a law; refuses a second law of the same name."""

    def declare(check: Check) -> Check:
        if identifier in LAWS:
            raise ValueError(f"law {identifier} is declared twice; give the second another name")
        LAWS[identifier] = Law(identifier, sentence, taught_by, check, frozenset(needs))
        return check

    return declare


def judge(step: Step) -> Iterator[tuple[Law, Violation]]:
    """Every violation, in the order in which the laws are declared: host leaves first.

    A law that needs what the target does not show is not judged.
    """
    for declared in LAWS.values():
        if not declared.needs.isdisjoint(step.unobserved):
            continue
        for violation in declared.check(step):
            yield declared, violation
