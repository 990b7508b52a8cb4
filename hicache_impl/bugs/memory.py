"""Planted bugs in the memory of the two tiers: who owns a slot, and who frees it."""

from __future__ import annotations

from hicache_impl.bugs.bug import ANY_WRITE_POLICY, Bug
from hicache_impl.native.cache import HierarchicalCache
from hicache_impl.native.eviction import HostEviction
from hicache_impl.native.parts import Kinds
from hicache_impl.native.tree import TreeNode


class FreesHostTwice(HostEviction):
    def remove(self, leaf: TreeNode) -> None:
        super().remove(leaf)
        if leaf.host is not None:
            self.parts.host_pool.free(leaf.host)


class ForgetsHostPool(HierarchicalCache):
    def reset(self) -> None:
        before = self.parts.host_pool.slots.free
        super().reset()
        self.parts.host_pool.slots.free = before


MEMORY = (
    Bug(
        identifier="host-slots-freed-twice",
        sentence="A node that leaves the host gives its slots back twice.",
        imitates="vLLM #42571 (the same block twice in one free)",
        law="free-once",
        write_policies=ANY_WRITE_POLICY,
        length=3,
        quick=True,
        kinds=Kinds(host_eviction=FreesHostTwice),
    ),
    Bug(
        identifier="reset-forgets-the-host-pool",
        sentence="A reset leaves the slots of the host pool taken.",
        imitates="SGLang #23216",
        law="conservation",
        write_policies=ANY_WRITE_POLICY,
        length=3,
        cache=ForgetsHostPool,
    ),
)
