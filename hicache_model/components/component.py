"""The contract of a component: what the reference asks and tells it. Nothing here: full attention.

The reference knows the tree, the full component's two tiers, locks and transfers. A component
knows its own values on the same nodes. Every method has the answer of a tree that caches full
attention alone, so that it costs nothing where there is no other component.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

from hicache_model.components.facts import Holder

if TYPE_CHECKING:
    from hicache_model.notes import Found, Running
    from hicache_model.reference import Reference
    from hicache_model.snapshot import ComponentState, NodeComponent, Path
    from hicache_model.tree import TreeNode

Shared: TypeAlias = "tuple[TreeNode, int]"
"""A node, and how many of its tokens lie on a path."""


class Component:
    """A component of one reference cache; this one adds nothing to full attention.

    ``chunks_end_anywhere``: whether requests are run whose next chunk does not end with a page.
    """

    chunks_end_anywhere = False

    def __init__(self, reference: Reference) -> None:
        self.reference = reference
        self.forget()

    def forget(self) -> None:
        """Everything is as in a new cache."""

    # -- nodes -------------------------------------------------------------------------------------

    def added(self, node: TreeNode) -> None:
        """A new leaf, with its full KV on the device."""

    def split(self, upper: TreeNode) -> None:
        """``upper`` is the new upper half of its only child."""

    def left_device(self, node: TreeNode) -> None:
        """The full KV of ``node`` left the device, and the component's with it."""

    # -- lookup and insert -------------------------------------------------------------------------

    def usable(self, visited: Sequence[TreeNode]) -> tuple[TreeNode, TreeNode]:
        """The last node that a lookup along ``visited``, the root first, may use.

        The first answer counts what is on either tier, the second what is on the device.
        """
        node = device = visited[-1]
        while not device.on_device:
            assert device.parent is not None
            device = device.parent
        return node, device

    def host_length(self, node: TreeNode) -> int:
        """Tokens of its own that a request needs at ``node``, and that only the host has."""
        return 0

    def looked_up(self, node: TreeNode) -> None:
        """A lookup ended on ``node``."""

    def passed(self, node: TreeNode, freed: int, protected: int) -> None:
        """An insert, with new KV of its own, came by ``node``, whose full KV is on the device.

        Up to ``freed`` (a position) the inserting request has no KV of the component any more; what
        lies before ``protected`` was the tree's already.
        """

    def grown(self, leaf: TreeNode, freed: int) -> None:
        """An insert made the new ``leaf``."""

    def inserted(self, node: TreeNode, new: bool) -> None:
        """An insert ended on ``node``, a ``new`` leaf or not; a new leaf's hit is counted later."""

    def lacks_backup(self, node: TreeNode) -> bool:
        """Whether a node that is backed up has something new that is not."""
        return False

    # -- requests ----------------------------------------------------------------------------------

    def begins(self, node: TreeNode) -> None:
        """A request begins, and its lookup ended on ``node``."""

    def prepares_load(self, anchor: TreeNode) -> None:
        """What is above ``anchor`` is held, and about to be loaded."""

    def load_called_off(self) -> None:
        """After ``prepares_load`` nothing was loaded."""

    def branch(self, found: Found) -> int | None:
        """To where the tree has full KV that a request cannot use for want of the component."""
        return found.visited if found.visited > found.usable else None

    def takes_row(self) -> None:
        """The request that begins counts as running from now on."""

    def computes(self, running: Running, start: int) -> None:
        """A request has computed its tokens from ``start`` on, of its prompt or one decoded."""

    def insert_length(self, running: Running) -> int:
        """How much of what a request has computed its next insert gives to the tree; 0: none."""
        return running.computed

    def shorter_insert(self, most: int) -> int:
        """How much of that, where no more than ``most`` may be given."""
        return most

    def goes_on(self, running: Running) -> None:
        """A request that goes on afterwards is about to insert."""

    def inserts_nothing(self, running: Running) -> None:
        """A request goes on without an insert, for which it has nothing that a node could have."""

    def inserted_by(self, running: Running, path: Path) -> None:
        """The insert of a request ended where ``path`` does, and its lock has moved there."""

    def decodes(self, running: Running) -> None:
        """A request is about to compute one more token."""

    def start_of(self, running: Running) -> int:
        """The position from which on a request has KV of the component for itself."""
        return 0

    def make_free(self, count: int) -> int | None:
        """Evict until ``count`` tokens of its own pool are free; how many are."""
        return None

    # -- holders -----------------------------------------------------------------------------------

    def hold(self, node: TreeNode, holder: Holder) -> None:
        """``holder`` locks the path of ``node`` on the device."""

    def release(self, node: TreeNode, holder: Holder) -> None:
        """It gives back the oldest lock that it has there."""

    def pin(self, node: TreeNode, holder: Holder) -> None:
        """The same of host copies."""

    def unpin(self, node: TreeNode, holder: Holder) -> None:
        """It gives back the oldest pin that it has there."""

    # -- memory and transfers ----------------------------------------------------------------------

    def tokens_of_room(self) -> int | None:
        """For how many tokens its own pool has room now; None where it sets no limit."""
        return None

    def no_room(
        self, needed: int, on_path: Sequence[Shared], inserts: int, begins: bool = False
    ) -> str | None:
        """Why an allocation of ``needed`` tokens may fail for it; None where it cannot.

        The nodes of ``on_path`` are locked, and loaded, before. The request that asks, and may only
        begin, then gives what it has computed to the tree, up to ``inserts`` times, and goes on.
        """
        return None

    def usable_length(self, on_path: Sequence[Shared], device: int) -> int:
        """How many of ``device`` tokens of full KV on the device a request can go on after."""
        return device

    def host_tokens(self, on_path: Sequence[Shared]) -> int:
        """Tokens of its own on a path that only the host has."""
        return 0

    def evictable(self) -> int:
        """Tokens of its own pool on the device that nobody locks."""
        return 0

    def on_device(self) -> int:
        """Tokens of its own pool that the tree has on the device."""
        return 0

    def on_host(self) -> int:
        """The same on the host."""
        return 0

    def evict_device(self, count: int) -> None:
        """Free at least ``count`` tokens of its own pool on the device."""

    def evict_host(self, count: int) -> None:
        """Free at least ``count`` tokens of its own pool on the host."""

    def back_up(self, node: TreeNode, waits: bool) -> bool:
        """Copy to the host what belongs to the backup of ``node``; False when there is no room.

        ``waits`` says that the copy is waited for.
        """
        return True

    def is_written(self, node: TreeNode) -> bool:
        """Whether a write in flight covers the component's value of ``node``."""
        return False

    def written(self, node: TreeNode) -> list[TreeNode]:
        """The write of ``node`` was acknowledged; the nodes that it covered."""
        return []

    def missing(self, node: TreeNode) -> list[TreeNode]:
        """The nodes, the uppermost first, to load before a request can go on at ``node``."""
        return []

    def make_room(self, nodes: Sequence[TreeNode]) -> bool:
        """Device room for ``nodes``, evicting when short; whether there is any."""
        return True

    def claimed(self, nodes: Sequence[TreeNode], anchor: TreeNode) -> bool:
        """Whether one of ``nodes`` belongs to a load for another anchor, and has to wait for it."""
        return False

    def load(self, nodes: Sequence[TreeNode], anchor: TreeNode, chain: Sequence[TreeNode]) -> None:
        """``nodes`` are on the device from now on; the copy is queued for ``anchor``.

        So is the full KV of the nodes in ``chain``.
        """

    def loaded(self, anchor: TreeNode) -> None:
        """The load of ``anchor`` was acknowledged."""

    # -- what it shows -----------------------------------------------------------------------------

    def view(self, node: TreeNode) -> NodeComponent | None:
        """The component's part of a node of a snapshot."""
        return None

    def key(self, node: TreeNode) -> object:
        """All of its facts at a node but for times: two states differ where these do."""
        return None

    def state(self) -> ComponentState | None:
        """The component's part of a snapshot, without slots and bytes."""
        return None
