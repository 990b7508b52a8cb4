"""The states of a node, exactly as users speak of them, and which combinations are legal.

docs/state-machine.md is generated from here and from every transition that the reference makes.
"""

from __future__ import annotations

from itertools import product

import attrs

from hicache_model.tree import TreeNode

TIERS = ("on GPU", "on GPU, backed up", "evicted")
TRANSFERS = (None, "write", "queued load", "load")


@attrs.frozen(order=False)
class NodeState:
    """``tier`` is one of TIERS (evicted: only on the host); ``transfer`` one of TRANSFERS."""

    tier: str
    locked: bool
    host_locked: bool
    transfer: str | None = None

    def __str__(self) -> str:
        words = [self.tier]
        if self.locked:
            words.append("locked")
        if self.host_locked:
            words.append("host-locked")
        if self.transfer:
            words.append(
                "load queued" if self.transfer == "queued load" else f"{self.transfer} in flight"
            )
        return ", ".join(words)


def state_of(node: TreeNode) -> NodeState:
    """The state of a node of the reference. ValueError where it has no copy in any tier."""
    if not node.on_device and not node.on_host:
        raise ValueError(f"node {node.path} has no copy in any tier")
    tier = TIERS[1 if node.on_host else 0] if node.on_device else TIERS[2]
    return NodeState(tier, node.lock_ref > 0, node.host_lock > 0, node.transfer)


def why_illegal(state: NodeState) -> str | None:
    """The rule that a combination breaks, or None for a legal one."""
    if state.tier == "evicted" and state.locked:
        return "a lock keeps a node on the device"
    if state.tier == "on GPU" and state.host_locked:
        return "only a host copy can be pinned"
    if state.transfer and state.tier != "on GPU, backed up":
        return "a transfer has its slots in both tiers until it is acknowledged"
    if state.transfer and not state.locked:
        return "a transfer locks its node until it is acknowledged"
    return None


ALL_STATES = tuple(
    NodeState(*parts) for parts in product(TIERS, (False, True), (False, True), TRANSFERS)
)
LEGAL_STATES = tuple(state for state in ALL_STATES if why_illegal(state) is None)


def reachable_under(state: NodeState, write_policy: str) -> bool:
    """Under write_back eviction waits for its own writes, so none stays in flight."""
    return not (state.transfer == "write" and write_policy == "write_back")
