"""Planted bugs in what moves between the tiers, when, and whether its bytes arrive."""

from __future__ import annotations

from hicache_impl.bugs.bug import ANY_WRITE_POLICY, WRITE_BACK, WRITING_THROUGH, Bug
from hicache_impl.native.loading import Loads
from hicache_impl.native.parts import Kinds
from hicache_impl.native.pools import Slots
from hicache_impl.native.tree import TreeNode
from hicache_impl.native.upkeep import Upkeep
from hicache_impl.native.writing import WriteBack, WriteThrough


class LoadsUnguarded(Loads):
    def guarded_room(self, chain: list[TreeNode], quota: int | None) -> Slots | None:
        for member in chain:
            member.host_lock -= 1
        slots = super().guarded_room(chain, quota)
        for member in chain:
            member.host_lock += 1
        return slots


class LoadsFromTheBottom(Loads):
    def place(self, chain: list[TreeNode], slots: Slots) -> None:
        super().place(chain[::-1], slots)


class DropsWhatIsRefused(Loads):
    def load_back(self, node: TreeNode, quota: int | None) -> Slots:
        slots = super().load_back(node, quota)
        host = self.eviction.host
        if not slots and quota is not None and host.may_go(node):
            host.remove(node)
        return slots


class BacksUpOrphans(WriteThrough):
    def is_due(self, node: TreeNode) -> bool:
        return node.hit_count >= self.parts.settings.hits_before_backup and not node.backed_up


class DoesNotWait(WriteBack):
    def finish_staged(self) -> list[TreeNode]:
        finished = list(self.staged)
        self.staged.clear()
        return finished


class StagesWithoutRoom(WriteBack):
    """Upstream asserts that there is a copy, when the victim leaves the device."""

    def clear(self) -> None:
        super().clear()
        self.without_copy: list[TreeNode] = []

    def stage(self, victim: TreeNode) -> bool:
        if not super().stage(victim):
            self.without_copy.append(victim)
        return True

    def finish_staged(self) -> list[TreeNode]:
        finished = super().finish_staged() + self.without_copy
        self.without_copy = []
        return finished


class LoadsAlone(Loads):
    has_quota = False

    def load_back(self, node: TreeNode, quota: int | None) -> Slots:
        self.has_quota = quota is not None
        return super().load_back(node, quota)

    def evicted_chain(self, node: TreeNode) -> list[TreeNode]:
        chain = super().evicted_chain(node)
        return chain[-1:] if self.has_quota else chain


class CountsWhatIsThere(Upkeep):
    """Or the lock on the parent would be counted as one on the device."""

    def protect(self, node: TreeNode) -> None:
        super().protect(node)
        if node.evicted:
            self.evictable_size += len(node.key)


TRANSFERS = (
    Bug(
        identifier="load-does-not-hold-its-pages",
        sentence="The host pages of a load may be evicted while room is made for it.",
        imitates="SGLang #27631, #27562",
        law="pinned-until-ack",
        write_policies=WRITE_BACK,
        length=4,
        kinds=Kinds(loads=LoadsUnguarded),
    ),
    Bug(
        identifier="load-mixes-up-its-nodes",
        sentence="The nodes of a load get each other's slots.",
        imitates="TensorRT-LLM #8813, #8830 (what is loaded is not what was computed)",
        law="bytes",
        write_policies=("write_back", "write_through"),
        length=7,
        kinds=Kinds(loads=LoadsFromTheBottom),
    ),
    Bug(
        identifier="refused-load-drops-the-host-copy",
        sentence="A load back that is over its quota takes the host copy with it.",
        imitates="SGLang #27108 (a step that failed and was not undone)",
        law="failed-step-changes-nothing",
        write_policies=("write_back", "write_through"),
        length=3,
        kinds=Kinds(loads=DropsWhatIsRefused),
    ),
    Bug(
        identifier="child-is-backed-up-first",
        sentence="A node is copied to the host although its parent was not.",
        imitates="SGLang 0.5.10, fixed in 0.5.11 (write_backup under a parent without a copy)",
        law="backup-prefix-closed",
        write_policies=WRITING_THROUGH,
        length=2,
        kinds=Kinds(write_through=BacksUpOrphans),
    ),
    Bug(
        identifier="eviction-does-not-wait-for-the-copy",
        sentence="A written back node leaves the device before its bytes have.",
        imitates="SGLang #24585",
        law="bytes",
        write_policies=WRITE_BACK,
        length=2,
        quick=True,
        kinds=Kinds(write_back=DoesNotWait),
    ),
    Bug(
        identifier="eviction-stages-without-room",
        sentence="A victim for which the host has no room is taken for one that is being copied.",
        imitates="SGLang 0.5.10, fixed in 0.5.11 (`if written > 0`), #27108",
        law="no-orphan",
        write_policies=WRITE_BACK,
        length=2,
        kinds=Kinds(write_back=StagesWithoutRoom),
    ),
    Bug(
        identifier="load-with-a-quota-leaves-the-parent",
        sentence="A load back with a quota brings one node, and its parents stay on the host.",
        imitates="SGLang #25088 (a node on the device below one that is not)",
        law="device-prefix-closed",
        write_policies=ANY_WRITE_POLICY,
        length=5,
        kinds=Kinds(loads=LoadsAlone, upkeep=CountsWhatIsThere),
    ),
)
