"""What the reference stores, and the small changes that everything else is made of.

Facts of a node are in the tree (``hicache_model.tree``); here is what stands beside it: transfers,
requests, and who holds what.
"""

from __future__ import annotations

from collections.abc import Iterable

from hicache_model.components.component import Component
from hicache_model.components.facts import Holder
from hicache_model.configuration import Configuration
from hicache_model.dialects import Dialect
from hicache_model.notes import Pin, Running
from hicache_model.tree import Tree, TreeNode


class CacheFacts:
    """The facts of one cache. ``component`` knows those beside full attention."""

    component: Component

    def __init__(self, configuration: Configuration, dialect: Dialect) -> None:
        self.configuration = configuration
        self.dialect = dialect
        self.page_size = configuration.page_size
        self.write_back = configuration.write_policy == "write_back"
        self.tree = Tree(configuration.page_size, dialect, self._note_split, configuration.bigram)
        self._forget()

    def _forget(self) -> None:
        """Everything but the component is as in a new cache."""
        self.tree.clear()
        self.queued_writes: list[TreeNode] = []
        self.writes: list[tuple[TreeNode, ...]] = []
        self.queued_loads: list[TreeNode] = []
        self.started_loads: list[tuple[TreeNode, ...]] = []
        self.requests: dict[int, Running] = {}
        self.retracted: dict[int, Running] = {}
        self.arrived_writes = self.arrived_loads = 0  # the oldest, done and not noticed yet
        self.locks: list[TreeNode] = []
        self.host_locks: list[Pin] = []
        self.load_pins: dict[TreeNode, Pin] = {}
        self.duplicates: dict[TreeNode, None] = {}

    def pages(self, length: int) -> int:
        """``length`` rounded up to whole pages, in tokens."""
        return -(-length // self.page_size) * self.page_size

    def _place(
        self, node: TreeNode, *, device: bool | None = None, host: bool | None = None
    ) -> None:
        if device is not None:
            node.on_device = device
            if not device:
                self.component.left_device(node)
        if host is not None:
            node.on_host = host
        self.tree.changed.add(node)

    # -- holders -----------------------------------------------------------------------------------

    def hold(self, node: TreeNode, holder: Holder) -> None:
        self.tree.hold(node, 1)
        self.component.hold(node, holder)

    def let_go(self, node: TreeNode, holder: Holder) -> None:
        self.tree.hold(node, -1)
        self.component.release(node, holder)

    def _pin(self, nodes: Iterable[TreeNode], pins: int) -> None:
        for node in nodes:
            node.host_lock += pins
            self.tree.changed.add(node)

    def _take_pin(self, node: TreeNode) -> Pin:
        self._pin([node], 1)
        return Pin(node, node.start)

    def covered(self, pin: Pin) -> list[TreeNode]:
        """The nodes that a pin holds: where a split leaves it on both halves, several."""
        nodes = [pin.node]
        if self.dialect.split_pins == "both_halves":
            while nodes[-1].start > pin.start:
                parent = nodes[-1].parent
                assert parent is not None
                nodes.append(parent)
        return nodes

    # -- nodes on both tiers -----------------------------------------------------------------------

    def _note_split(self, upper: TreeNode) -> None:
        self.component.split(upper)
        self._note_duplicate(upper)

    def _note_duplicate(self, node: TreeNode) -> None:
        """Whether a node has settled copies in both tiers was looked at just now."""
        if not self.write_back or self.dialect.host_pressure == "leaves":
            return
        if node.on_device and node.on_host and not self._is_busy(node):
            self.duplicates.setdefault(node)
        else:
            self.duplicates.pop(node, None)

    def _is_busy(self, node: TreeNode) -> bool:
        """Whether a transfer in flight covers it."""
        return node.transfer is not None or self.component.is_written(node)


def mark(anchor: TreeNode, transfer: str, becomes: str | None) -> list[TreeNode]:
    """What one transfer moves: the nodes up from its anchor that are in that transfer's state.

    Transfers above are older and, in stream order, acknowledged before.
    """
    marked = []
    node: TreeNode | None = anchor
    while node is not None and node.transfer == transfer:
        node.transfer = becomes
        marked.append(node)
        node = node.parent
    return marked
