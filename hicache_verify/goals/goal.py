"""What a goal of reach is: a situation in which upkeep is known to go wrong, and where it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import attrs

from hicache_model.configuration import WRITE_POLICIES
from hicache_model.dialects import Dialect
from hicache_model.reference import Reference
from hicache_model.tree import TreeNode
from hicache_verify.campaigns.cells import Cell, kind_of
from hicache_verify.goals.moment import Moment

WRITE_BACK = ("write_back",)
WRITE_THROUGH = ("write_through", "write_through_selective")


class BadGoal(ValueError):
    """A goal that could never be counted, or that says nothing."""


@attrs.frozen
class Where:
    """Where a goal can be reached: write policies, a least page size, one value of a dialect.

    ``eviction_policy`` and ``component`` are the only ones that it can be reached with; None for
    any. ``strip_thinking`` says that it takes a cache that strips thoughts, ``bigram`` that it
    takes one with keys of pairs.
    """

    write_policies: tuple[str, ...] = WRITE_POLICIES
    least_page_size: int = 1
    dialect: tuple[str, str] | None = None
    eviction_policy: str | None = None
    component: str | None = None
    strip_thinking: bool = False
    bigram: bool = False

    def __attrs_post_init__(self) -> None:
        if not self.write_policies or not set(self.write_policies) <= set(WRITE_POLICIES):
            raise BadGoal(f"{self.write_policies} are not some of {', '.join(WRITE_POLICIES)}")
        if self.dialect is not None and self.dialect[0] not in attrs.fields_dict(Dialect):
            raise BadGoal(f"no dialect is called {self.dialect[0]}")

    def holds(self, cell: Cell, dialect: Dialect) -> bool:
        name, value = self.dialect or ("release", dialect.release)
        return (
            cell.write_policy in self.write_policies
            and cell.page_size >= self.least_page_size
            and self.eviction_policy in (None, cell.eviction_policy)
            and self.component in (None, cell.component)
            and self.strip_thinking <= cell.strip_thinking
            and self.bigram <= cell.bigram
            and getattr(dialect, name) == value
        )

    def __str__(self) -> str:
        words = [] if self.write_policies == WRITE_POLICIES else [", ".join(self.write_policies)]
        if self.least_page_size > 1:
            words.append(f"pages of {self.least_page_size} tokens or more")
        if self.eviction_policy is not None:
            words.append(self.eviction_policy)
        if self.component is not None:
            words.append(f"component {self.component}")
        words += kind_of(self)
        if self.dialect is not None:
            words.append(f"{self.dialect[0]}: {self.dialect[1]}")
        return "; ".join(words) or "everywhere"


EVERYWHERE = Where()

Test: TypeAlias = Callable[[Moment], bool]


@attrs.frozen
class Goal:
    """``reached`` tells the situation from one operation, and the states before and after it.

    ``guards`` names the laws that it can break and SGLang's public bugs that it is taken from.
    ``by`` are the operations that it can come from, all of them where it is empty. A ``lasting``
    goal is of the state alone: it counts when an operation brings it about, not while it lasts.
    """

    name: str
    guards: str
    reached: Test
    where: Where = EVERYWHERE
    by: tuple[type[Any], ...] = ()
    lasting: bool = False

    def __attrs_post_init__(self) -> None:
        if not self.name or not self.guards:
            raise BadGoal(f"goal {self.name!r} needs a name and the laws or bugs that it guards")


def state(
    name: str, guards: str, holds: Callable[[Reference], bool], where: Where = EVERYWHERE
) -> Goal:
    """A goal of the state alone."""
    return Goal(name, guards, lambda moment: holds(moment.model), where, lasting=True)


def some_node(
    name: str, guards: str, holds: Callable[[TreeNode], bool], where: Where = EVERYWHERE
) -> Goal:
    """A goal of one node and its neighbours."""

    def holds_for_any(model: Reference) -> bool:
        return any(map(holds, model.tree.by_path.values()))

    return state(name, guards, holds_for_any, where)


def some_child(node: TreeNode, test: Callable[[TreeNode], bool]) -> bool:
    return any(map(test, node.children.values()))
