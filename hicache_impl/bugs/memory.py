"""Planted bugs in the memory of the two tiers: who owns a slot, and who frees it."""

from __future__ import annotations

from collections.abc import Sequence

from hicache_impl.bugs.bug import ANY_WRITE_POLICY, WRITE_BACK, Bug
from hicache_impl.native.cache import HierarchicalCache
from hicache_impl.native.parts import Kinds
from hicache_impl.native.pools import PagedAllocator, Slots, slots_of
from hicache_impl.native.requests import Running, Scheduler
from hicache_impl.native.tree import Tokens, TreeNode


class FreesEachSlot(PagedAllocator):
    def free(self, slots: Sequence[int]) -> None:
        self.pages.give([slot // self.page_size for slot in slots])


class ReportsTheRevived(HierarchicalCache):
    """A node that an insert fills again was there, but not on the device."""

    revived = 0

    def fill(self, node: TreeNode, slots: Slots) -> None:
        if node.backed_up:
            self.revived += len(slots)
        super().fill(node, slots)

    def insert(
        self,
        tokens: Tokens,
        slots: Sequence[int],
        namespace: str | None = None,
        priority: int = 0,
        chunked: bool = False,
    ) -> int:
        self.revived = 0
        already = super().insert(tokens, slots, namespace, priority, chunked)
        return already + self.revived


class FreesLate(Scheduler):
    """Notes where in the row the duplicates lie, and frees what lies there later on.

    Not while a load is under way: whose slots go then is said by another law first.
    """

    queued = (0, 0)

    def _free_duplicates(self, request: Running, already: int) -> None:
        loads = self.cache.loads
        self.queued = request.protected, already
        if loads.queued or loads.started:
            self._free_queued(request)
            self.queued = 0, 0

    def _cache_unfinished(self, request: Running, *, chunked: bool) -> None:
        super()._cache_unfinished(request, chunked=chunked)
        self._free_queued(request)

    def finish(self, number: int) -> None:
        request = self.running[number]
        super().finish(number)
        self._free_queued(request)

    def _free_queued(self, request: Running) -> None:
        start, end = self.queued
        self.cache.free(request.row[start:end])


class OwnsItsPrompt(Scheduler):
    """Whatever the cache has of a request that was retracted while it thought."""

    def _left_by(self, request: Running) -> int:
        stripped = self.cache.settings.strip_thinking
        return request.asked_length if stripped else super()._left_by(request)


class KeepsAView(HierarchicalCache):
    """Each insert writes its slots into one buffer, and a node's slots are a view of that: those of
    the node that was filled last change with the next insert.
    """

    last: TreeNode | None = None
    view: Slots | None = None

    def fill(self, node: TreeNode, slots: Slots) -> None:
        super().fill(node, slots)
        self.last, self.view = node, slots

    def insert(
        self,
        tokens: Tokens,
        slots: Sequence[int],
        namespace: str | None = None,
        priority: int = 0,
        chunked: bool = False,
    ) -> int:
        if self.last is not None and self.view is not None and self.last.device is self.view:
            overwritten = *slots, *self.view[len(slots) :]
            self.last.device = slots_of(overwritten[: len(self.view)])
        return super().insert(tokens, slots, namespace, priority, chunked)


class ForgetsHostPool(HierarchicalCache):
    def reset(self) -> None:
        before = self.parts.host_pool.slots.free
        super().reset()
        self.parts.host_pool.slots.free = before


class KeepsTheHost(HierarchicalCache):
    def reset(self) -> None:
        self.evict_device(self.settings.device_slots)


MEMORY = (
    Bug(
        identifier="page-freed-once-a-token",
        sentence="The pages of a node are given back once for each of their tokens.",
        imitates="vLLM #42571",
        law="free-once",
        write_policies=ANY_WRITE_POLICY,
        page_size=4,
        length=2,
        kinds=Kinds(paged_allocator=FreesEachSlot),
    ),
    Bug(
        identifier="insert-frees-what-it-filled",
        sentence="An insert calls duplicates what it has just put into an evicted node.",
        imitates="SGLang #35769",
        law="single-owner",
        write_policies=ANY_WRITE_POLICY,
        length=2,
        quick=True,
        cache=ReportsTheRevived,
    ),
    Bug(
        identifier="thoughts-are-taken-back",
        sentence="A request that ends takes back what it thought, even what the cache has of it.",
        imitates="SGLang 0.5.11 on, owned_kv_len",
        law="single-owner",
        write_policies=ANY_WRITE_POLICY,
        strip_thinking=True,
        length=2,
        scheduler=OwnsItsPrompt,
    ),
    Bug(
        identifier="duplicates-are-freed-too-late",
        sentence="A request's duplicates are freed after its row was overwritten with others.",
        imitates="SGLang #34067",
        law="single-owner",
        write_policies=WRITE_BACK,
        length=2,
        scheduler=FreesLate,
    ),
    Bug(
        identifier="node-keeps-a-view",
        sentence="A node keeps a view of the slots that it was given, and no copy.",
        imitates="SGLang before 0.5.10, no clone",
        law="single-owner",
        write_policies=WRITE_BACK,
        length=2,
        quick=True,
        cache=KeepsAView,
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
    Bug(
        identifier="reset-keeps-the-host",
        sentence="A reset empties the device and leaves on the host what was there.",
        imitates="SGLang #23216",
        law="reset-is-new",
        write_policies=ANY_WRITE_POLICY,
        length=2,
        cache=KeepsTheHost,
    ),
)
