"""The kept order of leaves equals the definition: least key first, whatever happened between."""

from __future__ import annotations

from random import Random

import pytest

from hicache_model.configuration import EVICTION_POLICIES
from hicache_model.order import LeafOrder
from hicache_model.policies import POLICIES, Policy
from hicache_model.snapshot import Path
from hicache_model.tree import TreeNode

ROUNDS, NODES = 300, 24


class Leaves:
    """Nodes that are touched, hit, and become leaves or cease to be, at random."""

    def __init__(self, policy: Policy, seed: int) -> None:
        self.random = Random(seed)
        self.policy = policy
        self.order = LeafOrder(policy)
        self.nodes = [TreeNode(Path(None, (i,)), 1, None, last_access=-i) for i in range(NODES)]
        self.leaves: set[TreeNode] = set()
        self.clock = 0

    def change(self) -> None:
        for node in self.random.sample(self.nodes, self.random.randrange(NODES)):
            self.clock += 1
            node.last_access = self.clock
            node.creation = node.creation or self.clock
            node.hit_count += self.random.randrange(2)
            node.priority = max(node.priority, self.random.randrange(3))
            (self.leaves.add if self.random.random() < 0.6 else self.leaves.discard)(node)
            self.order.changed.add(node)

    def evict(self, most: int) -> None:
        """Meet up to ``most`` leaves: some stay, some go, and some make another one a leaf."""
        due = sorted(self.leaves, key=self.policy)
        self.order.begin(self.leaves)
        for _ in range(most):
            node = self.order.next(self.leaves)
            assert node is (due.pop(0) if due else None)
            if node is None or self.random.random() < 0.3:
                continue
            self.leaves.discard(node)
            self.promote(due)

    def promote(self, due: list[TreeNode]) -> None:
        new = self.random.choice(self.nodes)
        if new.creation and new not in self.leaves and new not in self.order.changed:
            self.leaves.add(new)
            self.order.add(new)
            due.append(new)
            due.sort(key=self.policy)


@pytest.mark.parametrize("policy", EVICTION_POLICIES)
def test_leaves_come_in_the_order_that_the_policy_defines(policy: str) -> None:
    leaves = Leaves(POLICIES[policy], seed=1)
    for number in range(ROUNDS):
        for _ in range(number % 3):
            leaves.change()
        leaves.evict(most=leaves.random.randrange(NODES + 2))


def test_entries_out_of_date_may_tie() -> None:
    """Both halves of a split are as old as the node was, and one after the other is a leaf."""
    order = LeafOrder(POLICIES["fifo"])
    nodes = [TreeNode(Path(None, (i,)), 1, None, creation=1) for i in range(4)]
    others = {TreeNode(Path(None, (9, i)), 1, None, creation=i + 2) for i in range(9)}
    order.changed |= others
    for node in nodes:
        order.changed.add(node)
        order.begin({node, *others})
    assert order.next({nodes[-1], *others}) is nodes[-1]
    first = order.next({nodes[-1], *others})
    assert first is not None
    assert first.creation == 2


def test_what_is_kept_stays_in_proportion_to_the_leaves() -> None:
    leaves = Leaves(POLICIES["lru"], seed=2)
    for _ in range(ROUNDS):
        leaves.change()
        leaves.order.begin(leaves.leaves)
        assert len(leaves.order._heap) <= 2 * len(leaves.leaves)
        assert not leaves.order.changed
