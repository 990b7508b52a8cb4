"""Planted bugs in the upkeep of the two leaf sets."""

from __future__ import annotations

from hicache_impl.bugs.bug import ANY_WRITE_POLICY, WRITE_BACK, Bug
from hicache_impl.native.eviction import DeviceEviction, HostEviction
from hicache_impl.native.parts import Kinds
from hicache_impl.native.tree import TreeNode
from hicache_impl.native.upkeep import Upkeep


class AsksEvicted(Upkeep):
    """The literal mistake: a parent is demoted while its child, whose copy is under way, is still
    on the device.
    """

    def has_child_on_host(self, node: TreeNode) -> bool:
        return any(child.evicted for child in node.children.values())


class TakesChildless(HostEviction):
    """Passes over a member of the set that has copies below it (upstream asserts that there are
    none), so that the set is all that is wrong.
    """

    def may_go(self, node: TreeNode) -> bool:
        return super().may_go(node) and not node.children


class ReturnSlipsOut(Upkeep):
    """Returns from the test whatever it says, so that nothing is ever added.

    Slipped out of the test of the children only, the return changes nothing here: it leaves when
    the first child was looked at, and below an evicted node all children are alike.
    """

    def refresh_host_leaf(self, node: TreeNode) -> None:
        if not self.is_host_leaf(node):
            self.host_leaves.discard(node)


class ForgetsTheParent(Upkeep):
    """After a child was removed. After a demotion there is nothing to refresh here: a parent leaves
    the device with its children or after them, and their copies were issued before.
    """

    def removed(self, node: TreeNode) -> None:
        was_leaf = node.above in self.host_leaves
        super().removed(node)
        if not was_leaf:
            self.host_leaves.discard(node.above)


class ForgetsUnlocked(Upkeep):
    def unprotect(self, node: TreeNode) -> None:
        self.evictable_size += len(node.key)
        self.protected_size -= len(node.key)


class AsksTheFirstChild(Upkeep):
    def has_child_on_device(self, node: TreeNode) -> bool:
        return any(not child.evicted for child in list(node.children.values())[:1])


class KeepsTheVictim(Upkeep):
    def removed(self, node: TreeNode) -> None:
        was_leaf = node in self.host_leaves
        super().removed(node)
        if was_leaf:
            self.host_leaves.add(node)


class PassesOverTheGone(HostEviction):
    """Or the next eviction would trip over what was left behind."""

    def may_go(self, node: TreeNode) -> bool:
        return super().may_go(node) and node.above.children.get(node.edge) is node


class ForgetsWhatHangsBelow(DeviceEviction):
    def drop(self, victim: TreeNode) -> int:
        if any(node.host_lock for node in self.parts.tree.subtree(victim)):
            return 0
        self.host.remove(victim)
        return len(victim.key)


LEAF_SETS = (
    Bug(
        identifier="host-leaf-asks-evicted",
        sentence="A host leaf is asked for an evicted child, and not for one that is backed up.",
        imitates="SGLang #19212",
        law="host-leaves",
        write_policies=WRITE_BACK,
        length=4,
        kinds=Kinds(upkeep=AsksEvicted, host_eviction=TakesChildless),
    ),
    Bug(
        identifier="host-leaf-return-slips-out",
        sentence="The return of the test for host leaves has slipped out of its `if`.",
        imitates="SGLang #19212",
        law="host-leaves",
        write_policies=ANY_WRITE_POLICY,
        length=2,
        quick=True,
        kinds=Kinds(upkeep=ReturnSlipsOut),
    ),
    Bug(
        identifier="host-leaf-forgets-the-parent",
        sentence="The parent of a node that leaves the host does not become a host leaf.",
        imitates="SGLang #19212",
        law="host-leaves",
        write_policies=ANY_WRITE_POLICY,
        length=4,
        kinds=Kinds(upkeep=ForgetsTheParent),
    ),
    Bug(
        identifier="unlocked-node-stays-hidden",
        sentence="A node that nobody locks any more does not return to the device leaves.",
        imitates="SGLang #25068",
        law="device-leaves",
        write_policies=ANY_WRITE_POLICY,
        length=2,
        quick=True,
        kinds=Kinds(upkeep=ForgetsUnlocked),
    ),
    Bug(
        identifier="device-leaf-asks-the-first-child",
        sentence="A node is a device leaf as soon as its first child has left the device.",
        imitates="TensorRT-LLM #3735",
        law="device-leaves",
        write_policies=ANY_WRITE_POLICY,
        length=3,
        kinds=Kinds(upkeep=AsksTheFirstChild),
    ),
    Bug(
        identifier="host-victim-stays-listed",
        sentence="A node that was evicted from the host stays in the set of host leaves.",
        imitates="vLLM #4764",
        law="no-orphan",
        write_policies=ANY_WRITE_POLICY,
        length=3,
        kinds=Kinds(upkeep=KeepsTheVictim, host_eviction=PassesOverTheGone),
    ),
    Bug(
        identifier="dropped-node-leaves-orphans",
        sentence="A node that is dropped for want of host room leaves its children behind.",
        imitates="TensorRT-LLM #15018",
        law="no-orphan",
        write_policies=WRITE_BACK,
        length=3,
        kinds=Kinds(device_eviction=ForgetsWhatHangsBelow),
    ),
)
