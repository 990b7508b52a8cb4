"""Planted bugs in what moves between the tiers, when, and whether its bytes arrive."""

from __future__ import annotations

from hicache_impl.bugs.bug import ANY_WRITE_POLICY, WRITE_BACK, WRITING_THROUGH, Bug
from hicache_impl.native.eviction import DeviceEviction
from hicache_impl.native.loading import Loads
from hicache_impl.native.parts import Kinds
from hicache_impl.native.pools import Slots
from hicache_impl.native.requests import Scheduler
from hicache_impl.native.tree import TreeNode
from hicache_impl.native.writing import WriteBack, WriteThrough


class LoadsUnguarded(Loads):
    """Where there may be room. Where there is none the load is refused, and what it lost would
    break another law first.
    """

    chain: tuple[TreeNode, ...] = ()

    def guarded_room(self, chain: list[TreeNode], quota: int | None) -> Slots | None:
        self.chain = tuple(chain)
        return super().guarded_room(chain, quota)

    def device_room(self, total: int) -> Slots | None:
        upkeep = self.parts.upkeep
        room = self.parts.device_pool.available + upkeep.evictable_size
        let_go = self.chain if total <= room else ()
        for member in let_go:
            upkeep.unpin(member)
        slots = super().device_room(total)
        for member in let_go:
            upkeep.pin(member)
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


class LocksForNothing(Loads):
    """What it locks is added to the quota, where it is to be taken from it."""

    def guarded_room(self, chain: list[TreeNode], quota: int | None) -> Slots | None:
        upkeep, anchor = self.parts.upkeep, chain[0].above
        protected = upkeep.lock(anchor)
        upkeep.unlock(anchor)
        return super().guarded_room(chain, None if quota is None else quota + 2 * protected)


class StartsAndForgets(Scheduler):
    def start_loads(self) -> bool:
        started = super().start_loads()
        self.loading = None
        return started


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


class TakesCopiedForGone(DeviceEviction):
    """Goes on, at its end, to a parent whose child is on the device and has a copy."""

    def evict(self, count: int) -> int:
        freed = super().evict(count)
        nodes = self.parts.tree.subtree(self.parts.tree.root)[1:]
        return freed + sum(map(self.demote, list(filter(self.seems_a_leaf, nodes))[:1]))

    def seems_a_leaf(self, node: TreeNode) -> bool:
        may_go = node.backed_up and not (node.evicted or node.lock_ref)
        return may_go and any(
            child.backed_up and not child.evicted for child in node.children.values()
        )


TRANSFERS = (
    Bug(
        identifier="load-does-not-hold-its-pages",
        sentence="The host pages of a load may be evicted while room is made for it.",
        imitates="SGLang #27631, vLLM #39702",
        law="pinned-until-ack",
        write_policies=WRITE_BACK,
        length=4,
        kinds=Kinds(loads=LoadsUnguarded),
    ),
    Bug(
        identifier="load-mixes-up-its-nodes",
        sentence="The nodes of a load get each other's slots.",
        imitates="TensorRT-LLM #8813, #8830",
        law="bytes",
        write_policies=("write_back", "write_through"),
        length=4,
        kinds=Kinds(loads=LoadsFromTheBottom),
    ),
    Bug(
        identifier="forward-does-not-wait-for-the-load",
        sentence="A forward pass reads what a load brings without waiting for it.",
        imitates="SGLang #38217",
        law="read-after-load",
        write_policies=ANY_WRITE_POLICY,
        length=3,
        scheduler=StartsAndForgets,
    ),
    Bug(
        identifier="refused-load-drops-the-host-copy",
        sentence="A load back that is over its quota takes the host copy with it.",
        imitates="SGLang #27108",
        law="failed-step-changes-nothing",
        write_policies=("write_back", "write_through"),
        length=3,
        kinds=Kinds(loads=DropsWhatIsRefused),
    ),
    Bug(
        identifier="load-adds-locks-to-its-quota",
        sentence="A load back may take more where it locks something, and not less.",
        imitates="SGLang #38481",
        law="within-quota",
        write_policies=("write_back", "write_through"),
        length=4,
        kinds=Kinds(loads=LocksForNothing),
    ),
    Bug(
        identifier="child-is-backed-up-first",
        sentence="A node is copied to the host although its parent was not.",
        imitates="SGLang before 0.5.11, write_backup",
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
        imitates="SGLang before 0.5.11, #27108",
        law="no-orphan",
        write_policies=WRITE_BACK,
        length=2,
        kinds=Kinds(write_back=StagesWithoutRoom),
    ),
    Bug(
        identifier="eviction-takes-copied-for-gone",
        sentence="An eviction goes on to a node whose child has a copy, but is on the device.",
        imitates="SGLang #25088, #25068",
        law="device-prefix-closed",
        write_policies=WRITE_BACK,
        length=5,
        kinds=Kinds(device_eviction=TakesCopiedForGone),
    ),
)
