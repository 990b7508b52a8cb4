"""What a component keeps of one node."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import attrs

if TYPE_CHECKING:
    from hicache_model.tree import TreeNode

Holder: TypeAlias = str | int
"""Who holds a node: a request, by its number, or one of LOCK, WRITE, LOAD, PIN, DECISION."""

LOCK, WRITE, LOAD, PIN, DECISION = "lock", "write", "load", "pin", "decision"


@attrs.define(slots=True, eq=False)
class Facts:
    """Whether the component has a value in each tier, who holds it, and when it was last used.

    A node on the device without a value there is a *tombstone*. ``used`` and ``host_used`` are
    ticks of the component's own clock: the order of its LRU lists, in which of two nodes that were
    used together the one nearer to the root is older. ``host_used`` is 0 for what its LRU list of
    the host does not hold. ``written_by`` and ``loaded_by`` are the anchors of the transfers in
    flight that cover the node.
    """

    on_device: bool = False
    on_host: bool = False
    lock_ref: int = 0
    host_lock: int = 0
    used: int = 0
    host_used: int = 0
    written_by: TreeNode | None = None
    loaded_by: TreeNode | None = None


@attrs.define(slots=True, eq=False)
class Segment:
    """The part of a path that one holder holds: from ``start`` (a token) to the end of ``node``."""

    node: TreeNode
    start: int

    def nodes(self) -> list[TreeNode]:
        """Upwards; a split inside the segment only makes them more.

        One that begins within its last node, before the last token, is that node's end alone.
        """
        found, node = [], self.node
        while node.parent is not None and len(node.path.tokens) > self.start:
            found.append(node)
            node = node.parent
        return found
