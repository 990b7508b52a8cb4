"""The reference cache: what each operation does to the facts, and what it answers.

Written so that a cache's maintainer can read it in one sitting. It knows no slots (those are the
cache's own choice), takes everything derived from ``definitions``, and what a release does
differently on purpose from ``dialects``. Transfers finish when an operation says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from hicache_model import operations as ops
from hicache_model.components import component_of
from hicache_model.components.facts import DECISION, LOAD, LOCK, PIN, WRITE, Holder
from hicache_model.configuration import Configuration
from hicache_model.definitions import HOST_LEAF, is_device_leaf
from hicache_model.dialects import Dialect
from hicache_model.notes import Found, NoRoom, Pin, Running
from hicache_model.order import LeafOrder
from hicache_model.outcomes import (
    Admitted,
    Done,
    Evicted,
    Inserted,
    LoadedBack,
    LoadsStarted,
    Matched,
    Outcome,
    OutOfMemory,
)
from hicache_model.policies import named
from hicache_model.snapshot import Node, Path, Request, Snapshot, Transfer
from hicache_model.tree import Tree, TreeNode

STARTED_LOADS = 3  # HiCacheController's LayerDoneCounter has three producers


class Reference:
    """``apply(operation)`` changes the facts and returns the predicted outcome."""

    def __init__(self, configuration: Configuration, dialect: Dialect) -> None:
        self.configuration = configuration
        self.dialect = dialect
        self.page_size = configuration.page_size
        self.write_back = configuration.write_policy == "write_back"
        self.policy = named(configuration.eviction_policy, configuration.page_size)
        self.is_host_leaf = HOST_LEAF[dialect.host_leaf]
        self.tree = Tree(configuration.page_size, dialect, self._note_split)
        self.component = component_of(self)
        self._handlers = {
            cls: getattr(self, f"_op_{name}") for cls, name in ops.codec.names.items()
        }
        self._forget()

    def _forget(self) -> None:
        self.tree.clear()
        self.component.forget()
        self.queued_writes: list[TreeNode] = []
        self.writes: list[tuple[TreeNode, ...]] = []
        self.queued_loads: list[TreeNode] = []
        self.started_loads: list[tuple[TreeNode, ...]] = []
        self.requests: dict[int, Running] = {}
        self.locks: list[TreeNode] = []
        self.host_locks: list[Pin] = []
        self.load_pins: dict[TreeNode, Pin] = {}
        self.duplicates: dict[TreeNode, None] = {}
        self._device_leaves: set[TreeNode] = set()
        self._host_leaves: set[TreeNode] = set()
        self._counted: dict[TreeNode, tuple[int, int, int, int]] = {}
        self._totals = [0, 0, 0, 0]
        self._stale: set[TreeNode] = set()
        self._device_order, self._host_order = LeafOrder(self.policy), LeafOrder(self.policy)

    def apply(self, operation: ops.Operation) -> Outcome:
        """Raises nothing for an operation that ``rules.refusal`` allows."""
        outcome: Outcome = self._handlers[type(operation)](operation)
        return outcome

    # -- what follows from the facts (definitions.py), kept up to date from what changed -----------

    def settle(self) -> None:
        """Bring the derived forms up to date with what changed.

        tests/model/test_reference.py holds these equal to their definitions in every state reached.
        """
        tree = self.tree
        if not tree.changed:
            return
        looked_at = tree.changed.copy()
        for node in tree.changed:
            self._recount(node)
            if node.parent is not None:
                looked_at.add(node.parent)
        looked_at.discard(tree.root)
        tree.changed.clear()
        for node in looked_at:
            children = node.children.values()
            _keep(self._device_leaves, node, is_device_leaf(node, children))
            _keep(self._host_leaves, node, self.is_host_leaf(node, children))
        self._stale |= looked_at
        tree.touched |= looked_at

    def take_stale(self) -> tuple[set[TreeNode], set[Path]]:
        """Nodes whose view may have changed, and paths that left the tree, since the last call."""
        self.settle()
        stale, self._stale = self._stale, set()
        removed, self.tree.removed = self.tree.removed, set()
        return stale, removed

    def _recount(self, node: TreeNode) -> None:
        free = node.lock_ref == 0
        now = (
            node.length if node.on_device and free else 0,
            0 if free else node.length,
            node.length if node.on_device else 0,
            node.length if node.on_host else 0,
        )
        before = self._counted.get(node, (0, 0, 0, 0))
        if now != before:
            self._counted[node] = now
            for i in range(4):
                self._totals[i] += now[i] - before[i]

    def remove(self, node: TreeNode) -> None:
        """Take a node, and what hangs below it, out of the tree and of everything kept."""
        for gone in self.tree.subtree(node):
            for i, tokens in enumerate(self._counted.pop(gone, (0, 0, 0, 0))):
                self._totals[i] -= tokens
            self._device_leaves.discard(gone)
            self._host_leaves.discard(gone)
            self._stale.discard(gone)
            self._device_order.changed.discard(gone)
            self._host_order.changed.discard(gone)
            self.duplicates.pop(gone, None)
        self.tree.remove(node)

    def device_leaves(self) -> set[TreeNode]:
        if self.tree.changed:
            self.settle()
        return self._device_leaves

    def host_leaves(self) -> set[TreeNode]:
        if self.tree.changed:
            self.settle()
        return self._host_leaves

    def sizes(self) -> tuple[int, int]:
        """Evictable and protected size, in tokens."""
        self.settle()
        return self._totals[0], self._totals[1]

    def device_free(self) -> int:
        """Free device tokens: what neither a node nor a request's own row holds, in whole pages."""
        if self.tree.changed:
            self.settle()
        free = self.configuration.device_slots - self._totals[2]
        for running in self.requests.values():
            free -= self.pages(running.computed) - running.protected
        return free

    def allocatable(self) -> int:
        """Device tokens for which every pool has room."""
        beside = self.component.tokens_of_room()
        return self.device_free() if beside is None else min(self.device_free(), beside)

    def host_free(self) -> int:
        if self.tree.changed:
            self.settle()
        return self.configuration.host_slots - self._totals[3]

    def totals(self) -> tuple[int, int, int, int, int, int]:
        """Evictable and protected size, leaves on the device and the host, free in each, tokens."""
        free = self.device_free(), self.host_free()
        leaves = len(self._device_leaves), len(self._host_leaves)
        return (self._totals[0], self._totals[1], *leaves, *free)

    def pages(self, length: int) -> int:
        """``length`` rounded up to whole pages, in tokens."""
        return -(-length // self.page_size) * self.page_size

    # -- facts about one node ----------------------------------------------------------------------

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

    def _pin(self, nodes: Iterable[TreeNode], pins: int) -> None:
        for node in nodes:
            node.host_lock += pins
            self.tree.changed.add(node)

    def hold(self, node: TreeNode, holder: Holder) -> None:
        self.tree.hold(node, 1)
        self.component.hold(node, holder)

    def let_go(self, node: TreeNode, holder: Holder) -> None:
        self.tree.hold(node, -1)
        self.component.release(node, holder)

    def _take_pin(self, node: TreeNode) -> Pin:
        self._pin([node], 1)
        return Pin(node, node.start)

    def pinned_nodes(self) -> list[TreeNode]:
        """The nodes that LockHost pinned, with repetition."""
        return [pin.node for pin in self.host_locks]

    def covered(self, pin: Pin) -> list[TreeNode]:
        """The nodes that a pin holds: where a split leaves it on both halves, several."""
        nodes = [pin.node]
        if self.dialect.split_pins == "both_halves":
            while nodes[-1].start > pin.start:
                parent = nodes[-1].parent
                assert parent is not None
                nodes.append(parent)
        return nodes

    def stuck(self) -> set[TreeNode]:
        """The nodes that cannot leave the device because something below them is pinned.

        Under write_back these are nodes without a host copy, and what is above them.
        """
        found: set[TreeNode] = set()
        for pin in self.host_locks if self.write_back else ():
            node: TreeNode | None = pin.node
            above = False
            while node is not None and node is not self.tree.root:
                above = above or (node.on_device and not node.on_host)
                if above:
                    found.add(node)
                node = node.parent
        return found

    # -- eviction ----------------------------------------------------------------------------------

    def evict_device(self, count: int) -> int:
        """Free device leaves in policy order until ``count`` tokens are free; returns the freed."""
        freed = 0
        staged: list[TreeNode] = []  # written back by this eviction: pinned until their copies end
        for victim in self._in_order(self._device_order, self.device_leaves):
            freed += self._evict_leaf(victim, staged)
            if freed >= count:
                break
        self._pin(staged, -1)
        if freed < count and self.wait_for_writes():
            freed += self.evict_device(count - freed)
        return freed

    def evict_leaf(self, victim: TreeNode) -> None:
        """Free one device leaf."""
        self._evict_leaf(victim, [])

    def _evict_leaf(self, victim: TreeNode, staged: list[TreeNode]) -> int:
        """The device tokens that are free without ``victim``, which may also have to stay."""
        if self._demote(victim, staged):
            return victim.length
        if self.write_back and self.dialect.victim_without_host_room != "drop":
            return 0
        self._pin(staged, -1)
        staged.clear()
        return self._drop(victim)

    def _in_order(
        self, order: LeafOrder, leaves: Callable[[], set[TreeNode]]
    ) -> Iterator[TreeNode]:
        """The leaves, least key first, and a parent in its turn once it has become one.

        Nothing that an eviction does changes a key.
        """
        self.settle()
        for kept in (self._device_order, self._host_order):
            kept.changed |= self.tree.touched
        self.tree.touched.clear()
        order.begin(leaves())
        while (victim := order.next(leaves())) is not None:
            parent = victim.parent
            yield victim
            if parent in leaves():
                assert parent is not None
                order.add(parent)

    def _demote(self, victim: TreeNode, staged: list[TreeNode]) -> bool:
        """Keep only the host copy, under write_back making one first; False if there is none."""
        if not victim.on_host:
            if not self.write_back or not self._make_host_copy(victim, waits=True):
                return False
            if self.dialect.write_back_waits == "at_the_end":
                self._pin([victim], 1)
                staged.append(victim)
            self.wait_for_writes()
            self._note_duplicate(victim)
        self._place(victim, device=False)
        return True

    def _drop(self, victim: TreeNode) -> int:
        """Forget a node and what hangs below it; nothing happens where a host copy is pinned."""
        nodes = self.tree.subtree(victim)
        if any(node.host_lock for node in nodes):
            return 0
        self.remove(victim)
        return sum(node.length for node in nodes if node.on_device)

    def evict_host(self, count: int) -> None:
        """Free unpinned host leaves in policy order until ``count`` tokens are freed."""
        freed = self._reclaim_duplicates(count)
        for victim in self._in_order(self._host_order, self.host_leaves):
            if freed >= count:
                break
            if not victim.host_lock:
                self.remove(victim)
                freed += victim.length

    def _reclaimable_on_host(self) -> int:
        """Host tokens that an eviction can free: nothing at or below them is held."""
        return sum(
            node.length
            for node in self.tree.by_path.values()
            if node.evicted
            and not any(below.host_lock or below.lock_ref for below in self.tree.subtree(node))
        ) + sum(
            node.length
            for node in self.duplicates
            if node.on_device and node.on_host and not (node.transfer or node.host_lock)
        )

    def _reclaim_duplicates(self, count: int) -> int:
        """Free host copies of what is on the device too, where that is the first resort.

        In the order in which they became duplicates, device leaves last. One that lost a copy keeps
        its place until a reclaim comes by it.
        """
        freed, passed = 0, []
        leaves = self.device_leaves()
        for spare_leaves in (True, False):
            for node in self.duplicates:
                if freed >= count:
                    break
                if not (node.on_device and node.on_host):
                    passed.append(node)
                elif not (
                    node.host_lock or self._is_busy(node) or (spare_leaves and node in leaves)
                ):
                    self._place(node, host=False)
                    freed += node.length
                    passed.append(node)
        for node in passed:
            self.duplicates.pop(node, None)
        return freed

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

    # -- backup and load back ----------------------------------------------------------------------

    def _make_host_copy(self, node: TreeNode, waits: bool) -> bool:
        """Take host room for a copy of ``node``, evicting host leaves when short."""
        free = self.host_free()
        if free < node.length:
            asks_first = self.dialect.backup_without_room == "evicts_nothing"
            if asks_first and free + self._reclaimable_on_host() < node.length:
                return False
            whole = self.dialect.host_room_asked == "request"
            self.evict_host(node.length if whole else node.length - free)
            if self.host_free() < node.length:
                return False
        if not self.component.back_up(node, waits):
            return False
        self._place(node, host=True)
        return True

    def write_back_now(self, node: TreeNode) -> None:
        """A copy of a node on the host, waited for, if there is room."""
        self.wait_for_writes()
        if self._make_host_copy(node, waits=True):
            self._note_duplicate(node)

    def wait_for_writes(self) -> bool:
        """Under write_back an eviction waits for every write (only a component's are in flight).

        Whether there was any.
        """
        if not self.write_back or not (self.writes or self.queued_writes):
            return False
        self._start_writes()
        self._complete_writes(len(self.writes))
        return True

    def _count_hit(self, node: TreeNode) -> None:
        """Count a use; at the threshold back up, a child never before its parent."""
        if self.write_back and self.dialect.hits_under_write_back == "none":
            return
        node.hit_count += 1
        self.tree.changed.add(node)
        due = not self.write_back and (node.hit_count >= self.configuration.write_through_threshold)
        if due and not node.on_host:
            self._back_up(node)

    def _back_up(self, node: TreeNode) -> None:
        """Decide on the write of a node, after those of its ancestors that are not backed up."""
        above = self._without_copy_above(node)
        if not above or self.dialect.backup_of_orphan != "refused":
            self._write_all([*above, node])

    def _without_copy_above(self, node: TreeNode) -> list[TreeNode]:
        """The ancestors up to the first that is backed up, from the top."""
        chain = []
        while node.parent is not None and not node.parent.on_host:
            node = node.parent
            chain.append(node)
        return chain[::-1]

    def _write_all(self, nodes: Iterable[TreeNode]) -> bool:
        """Queue the writes of nodes, as far as there is room for copies; whether there was."""
        for node in nodes:
            if not self._make_host_copy(node, waits=False):
                return False
            node.transfer = "write"
            self._queue_write(node)
        return True

    def _back_up_rest(self, node: TreeNode) -> None:
        """What a component has got since ``node`` was backed up is written too."""
        when = self.dialect.component_backup
        due = not self.write_back or when != "write_through"
        ready = due and node.on_host and node.transfer != "write"
        if not (ready and self.component.lacks_backup(node)):
            return
        above = self._without_copy_above(node) if when == "with_ancestors" else []
        if not self._write_all(above):
            return
        if not node.on_host:  # its copy made room for theirs
            self._write_all([node])
        elif self.component.lacks_backup(node) and self.component.back_up(node, waits=False):
            self._queue_write(node)

    def _queue_write(self, node: TreeNode) -> None:
        self.hold(node, WRITE)
        self.queued_writes.append(node)
        if self.dialect.writes_start == "one_by_one":
            self._start_writes()

    def _start_writes(self) -> None:
        if self.queued_writes:
            self.writes.append(tuple(self.queued_writes))
            self.queued_writes = []

    def _load_back(self, anchor: TreeNode, quota: int | None = None) -> bool:
        """Queue the load of what lacks up from ``anchor`` on the device: all or nothing."""
        chain, node = [], anchor
        while not node.on_device:
            chain.append(node)
            assert node.parent is not None
            node = node.parent
        total, beside = sum(member.length for member in chain), self.component.missing(anchor)
        pinned = chain or [anchor] if self.write_back or anchor.on_host else []
        evictable = self.sizes()[0]
        self.hold(anchor, DECISION)
        newly_protected = evictable - self.sizes()[0]
        self._pin(pinned, 1)
        self.component.pin(anchor, DECISION)
        self.component.prepares_load(anchor)
        loaded = (total >= self.configuration.load_back_threshold or bool(beside)) and (
            quota is None or total <= quota - newly_protected
        )
        loaded = loaded and not self.component.claimed(beside, anchor)
        free = self.device_free()
        if loaded and free < total:
            whole = self.dialect.load_back_evicts == "request"
            self.evict_device(total if whole else total - free)
            self.wait_for_writes()
            loaded = self.device_free() >= total
        if loaded and beside:
            loaded = self.component.make_room(beside)
        self.let_go(anchor, DECISION)
        self._pin(pinned, -1)
        self.component.unpin(anchor, DECISION)
        if loaded:
            self._queue_load(anchor, chain, beside)
        else:
            self.component.load_called_off()
        return loaded

    def _queue_load(self, anchor: TreeNode, chain: list[TreeNode], beside: list[TreeNode]) -> None:
        for member in chain:
            self._place(member, device=True)
            member.transfer = "queued load"
        self.component.load(beside, anchor, chain)
        self.queued_loads.append(anchor)
        self.hold(anchor, LOAD)
        if self.dialect.load_pins == "anchor_until_ack":
            self.component.pin(anchor, LOAD)
            if self.write_back or anchor.on_host:
                self.load_pins[anchor] = self._take_pin(anchor)

    # -- lookup and insert -------------------------------------------------------------------------

    def _find(self, path: Path) -> Found:
        """Look ``path`` up: what is found is refreshed, and a node split where it ends."""
        visited = [self.tree.root]
        if path.tokens:
            self.tree.touch(self.tree.root)
        visited += self.tree.walk(path, touching=self.dialect.lookup_refreshes == "whole_node")
        node, on_device = self.component.usable(visited)
        if path.tokens and self.dialect.lookup_refreshes == "path_afterwards":
            self.component.looked_up(node)
            self.tree.refresh_path(node)
        host, above = 0, node
        while above is not on_device:
            host += above.length if above.on_host else 0
            assert above.parent is not None
            above = above.parent
        beside = self.component.host_length(node)
        return Found(node, on_device, host, beside, len(visited[-1].path.tokens))

    def _insert_path(
        self, path: Path, priority: int, counted: int, freed: int = 0, protected: int = 0
    ) -> int:
        """Give the KV of ``path`` to the tree; returns how much of it was in the tree already.

        Nodes that end within the first ``counted`` tokens have counted this use before. ``freed``
        and ``protected``: see Component.passed.
        """
        already, node, revived_count = 0, self.tree.root, self.dialect.revived_counts == "yes"
        if self.dialect.insert_priority_reaches == "nothing":
            priority = 0
        for node in self.tree.walk(path, priority):
            revived = not node.on_device
            if not revived or self.dialect.insert_answers == "matched":
                already += node.length
            if revived:
                self._place(node, device=True)
                self._note_duplicate(node)
            self.component.passed(node, freed, 0 if revived else protected)
            if len(node.path.tokens) > counted and (revived_count or not revived):
                self._count_hit(node)
        if len(node.path.tokens) < len(path.tokens):
            node = self.tree.add(node, path, priority)
            self.component.added(node)
            self.component.grown(node, freed)
            self.component.inserted(node, new=True)
            if len(path.tokens) > counted:
                self._count_hit(node)
        elif path.tokens:
            self.component.inserted(node, new=False)
            self._back_up_rest(node)
        return already

    # -- operations on the cache -------------------------------------------------------------------

    def _op_match(self, op: ops.Match) -> Outcome:
        found = self._find(self.tree.whole_pages(op.namespace, op.tokens))
        return Matched(found.device, found.host, component_host_length=found.component_host)

    def _op_insert(self, op: ops.Insert) -> Outcome:
        path = self.tree.whole_pages(op.namespace, op.tokens)
        counted = len(path.tokens) if op.chunked else 0
        return Inserted(self._insert_path(path, op.priority, counted))

    def _op_evict_device(self, op: ops.EvictDevice) -> Outcome:
        of_component = self.component.on_device()
        if op.component == "full":
            freed = self.evict_device(op.count)
        else:
            full = self._on_device()
            self.component.evict_device(op.count)
            freed = full - self._on_device()
        self.wait_for_writes()
        return Evicted(freed, of_component - self.component.on_device())

    def _on_device(self) -> int:
        """Tokens that the tree has on the device."""
        self.settle()
        return self._totals[2]

    def _op_evict_host(self, op: ops.EvictHost) -> Outcome:
        (self if op.component == "full" else self.component).evict_host(op.count)
        return Done()

    def _op_load_back(self, op: ops.LoadBack) -> Outcome:
        found = self._find(self.tree.whole_pages(op.namespace, op.tokens))
        return LoadedBack(self._load_found(found, op.quota))

    def _load_found(self, found: Found, quota: int | None = None) -> int:
        """Load what a lookup found on the host only; how many tokens more can be used then."""
        lacks = bool(found.host or found.component_host)
        return found.beyond if lacks and self._load_back(found.node, quota) else 0

    def _op_start_loads(self, op: ops.StartLoads | None = None) -> Outcome:
        if not self.queued_loads:
            return LoadsStarted(False)
        for node in self.queued_loads:
            _mark(node, "queued load", "load")
        self.started_loads.append(tuple(self.queued_loads))
        self.queued_loads = []
        return LoadsStarted(True)

    def _op_lock(self, op: ops.Lock) -> Outcome:
        node = self._find(self.tree.whole_pages(op.namespace, op.tokens)).on_device
        if node is not self.tree.root:
            self.locks.append(node)
            self.hold(node, LOCK)
        return Done()

    def _op_unlock(self, op: ops.Unlock) -> Outcome:
        node = self.tree.by_path[Path(op.namespace, op.tokens)]
        self.locks.remove(node)
        self.let_go(node, LOCK)
        return Done()

    def _op_lock_host(self, op: ops.LockHost) -> Outcome:
        node = self._find(self.tree.whole_pages(op.namespace, op.tokens)).node
        node = _up_while(node, lambda n: not n.on_host)
        if node is not self.tree.root:
            self.host_locks.append(self._take_pin(node))
            self.component.pin(node, PIN)
        return Done()

    def _op_unlock_host(self, op: ops.UnlockHost) -> Outcome:
        node = self.tree.by_path[Path(op.namespace, op.tokens)]
        pin = next(pin for pin in self.host_locks if pin.node is node)
        self.host_locks.remove(pin)
        self._pin(self.covered(pin), -1)
        self.component.unpin(node, PIN)
        return Done()

    def _op_start_writes(self, op: ops.StartWrites | None = None) -> Outcome:
        self._start_writes()
        return Done()

    def _op_complete_writes(self, op: ops.CompleteWrites) -> Outcome:
        self._complete_writes(op.count)
        self._start_writes()
        return Done()

    def _complete_writes(self, count: int) -> None:
        for nodes in self.writes[:count]:
            for node in nodes:
                self.let_go(node, WRITE)
                _mark(node, "write", None)
                for covered in self.component.written(node):
                    self._note_duplicate(covered)
        del self.writes[:count]

    def _op_complete_loads(self, op: ops.CompleteLoads) -> Outcome:
        for nodes in self.started_loads[: op.count]:
            for node in nodes:
                self._end_load(node)
        del self.started_loads[: op.count]
        self._start_writes()
        return Done()

    def _end_load(self, anchor: TreeNode) -> None:
        self.let_go(anchor, LOAD)
        self.component.loaded(anchor)
        if self.dialect.load_pins == "anchor_until_ack":
            self.component.unpin(anchor, LOAD)
        if anchor in self.load_pins:
            self._pin(self.covered(self.load_pins.pop(anchor)), -1)
        for node in _mark(anchor, "load", None):
            self._note_duplicate(node)

    def _op_reset(self, op: ops.Reset) -> Outcome:
        removed = set(self.tree.by_path)
        self._forget()
        self.tree.removed |= removed
        return Done()

    # -- operations on requests --------------------------------------------------------------------

    def _op_begin_request(self, op: ops.BeginRequest) -> Outcome:
        found = self._find(self.tree.whole_pages(op.namespace, op.tokens[:-1]))
        self.component.begins(found.node)
        self.hold(found.on_device, DECISION)
        loaded = self._load_found(found)
        anchor = found.node if loaded else found.on_device
        self.hold(anchor, op.request)
        self.let_go(found.on_device, DECISION)
        self._op_start_loads()
        prefix = found.device + loaded
        running = Running(
            op.tokens,
            len(op.tokens),
            op.namespace,
            op.priority,
            computed=prefix,
            protected=prefix,
            anchor=anchor,
            number=op.request,
            branch=found.visited if found.visited > found.device + found.host else None,
        )
        self.component.takes_row()
        self.requests[op.request] = running
        try:
            self._compute(running, min(op.chunk, len(op.tokens) - prefix))
        except NoRoom as short:
            return OutOfMemory(short.needed)
        return Admitted(found.device, loaded)

    def _op_extend_request(self, op: ops.ExtendRequest) -> Outcome:
        running = self.requests[op.request]
        self._cache_unfinished(running, chunked=True)
        self._op_start_loads()
        try:
            self._compute(running, min(op.chunk, running.prompt_length - running.computed))
        except NoRoom as short:
            return OutOfMemory(short.needed)
        return Done()

    def _op_decode_request(self, op: ops.DecodeRequest) -> Outcome:
        running = self.requests[op.request]
        self.component.decodes(running)
        try:
            self._allocate(running, 1, asks=self.page_size)
        except NoRoom as short:
            return OutOfMemory(short.needed)
        running.tokens += (op.token,)
        self._start_writes()
        return Done()

    def _op_finish_request(self, op: ops.FinishRequest | ops.AbortRequest) -> Outcome:
        running = self.requests.pop(op.request)
        path = self._insert_running(running, running.inserted)
        self.component.inserted_by(running, path)
        if self.dialect.prompt_boundary == "split" and self.configuration.component == "full":
            prompt = self.tree.whole_pages(
                running.namespace, running.tokens[: min(running.prompt_length, running.computed)]
            )
            if 0 < len(prompt.tokens) < len(path.tokens):
                self._insert_path(prompt, running.priority + 1, len(prompt.tokens))
        if self.dialect.finished_request == "matches_again":
            self._find(path)
        self._release(running)
        self._start_writes()
        return Done()

    def _op_abort_request(self, op: ops.AbortRequest) -> Outcome:
        if self.requests[op.request].prefilling:
            return self._op_retract_request(op)
        return self._op_finish_request(op)

    def _op_retract_request(self, op: ops.RetractRequest | ops.AbortRequest) -> Outcome:
        self._release(self.requests.pop(op.request))
        return Done()

    def _release(self, running: Running) -> None:
        assert running.anchor is not None
        self.let_go(running.anchor, running.number)

    def _compute(self, running: Running, length: int) -> None:
        """A forward pass over ``length`` prompt tokens; a complete prompt goes to the tree."""
        paged = self.page_size if self.page_size > 1 else 0
        self._allocate(running, length, asks=length + paged)
        if not running.prefilling:
            self._cache_unfinished(running, chunked=False)
        self._start_writes()

    def _allocate(self, running: Running, length: int, *, asks: int) -> None:
        """Memory for ``length`` more tokens. Raises NoRoom when eviction frees too little."""
        free = self.device_free()
        short = self.allocatable() < asks
        if free < asks:
            whole = self.dialect.scheduler_evicts == "request"
            self.evict_device(asks if whole else asks - free)
        grown = self.pages(running.computed + length) - self.pages(running.computed)
        beside = self.component.make_free(asks)
        if short:
            self.wait_for_writes()
        if self.device_free() < grown or (beside is not None and beside < grown):
            raise NoRoom(length)
        running.computed += length

    def _cache_unfinished(self, running: Running, *, chunked: bool) -> None:
        """Insert what is computed, take the tree's copy of it, and move the lock to its end."""
        once = self.dialect.request_counts == "each_node_once"
        self.component.goes_on(running)
        path = self._insert_running(
            running, running.computed if chunked and not once else running.inserted
        )
        if once:
            running.inserted = len(path.tokens)
        if self.dialect.unfinished_request == "matches_again":
            node = self._find(path).on_device
        else:
            node = self.tree.by_path.get(path, self.tree.root)
        self._release(running)
        self.hold(node, running.number)
        running.anchor, running.protected = node, len(node.path.tokens)
        self.component.inserted_by(running, path)

    def _insert_running(self, running: Running, counted: int) -> Path:
        """Give the tree what a request has computed, in whole pages; how far that goes."""
        length = self.component.insert_length(running)
        path = self.tree.whole_pages(running.namespace, running.tokens[:length])
        self._insert_path(path, running.priority, counted, running.freed, running.protected)
        return path

    # -- what it shows -----------------------------------------------------------------------------

    def view(self, node: TreeNode) -> Node:
        """The node as a snapshot shows it; ``()`` stands for slots that only the cache knows."""
        self.settle()
        return Node(
            node.path,
            node.length,
            () if node.on_device else None,
            () if node.on_host else None,
            node.lock_ref,
            node.host_lock,
            node in self._device_leaves,
            node in self._host_leaves,
            node.hit_count,
            node.priority,
            node.last_access,
            node.creation,
            node.reach,
            self.component.view(node),
        )

    def transfers(self) -> tuple[Transfer, ...]:
        return tuple(self._transfers())

    def _transfers(self) -> Iterator[Transfer]:
        for nodes in self.writes:
            yield Transfer("write", True, tuple(node.path for node in nodes))
        for node in self.queued_writes:
            yield Transfer("write", False, (node.path,))
        for nodes in self.started_loads:
            yield Transfer("load", True, tuple(node.path for node in nodes))
        for node in self.queued_loads:
            yield Transfer("load", False, (node.path,))

    def unfinished_writes(self) -> list[TreeNode]:
        """The nodes whose writes are not acknowledged, the oldest first."""
        return [*(node for nodes in self.writes for node in nodes), *self.queued_writes]

    def in_flight(self) -> bool:
        return bool(self.queued_writes or self.writes or self.queued_loads or self.started_loads)

    def held_paths(self) -> tuple[tuple[Path, ...], tuple[Path, ...]]:
        """The nodes that are locked by Lock, and whose host copies are pinned, with repetition.

        In order of their paths.
        """
        pins = (*self.host_locks, *self.load_pins.values())
        pinned = [node for pin in pins for node in self.covered(pin)]
        locks, host_locks = (
            tuple(sorted((node.path for node in nodes), key=_path_order))
            for nodes in (self.locks, pinned)
        )
        return locks, host_locks

    def request_views(self) -> dict[int, Request]:
        return {number: self._request_view(r) for number, r in self.requests.items()}

    def _request_view(self, running: Running) -> Request:
        anchor = None if running.anchor is self.tree.root else running.anchor
        return Request(
            running.tokens,
            running.namespace,
            running.computed,
            running.protected,
            anchor.path if anchor else None,
            component_start=self.component.start_of(running),
        )

    def snapshot(self) -> Snapshot:
        """The whole predicted state, without slots and bytes."""
        evictable, protected = self.sizes()
        locks, host_locks = self.held_paths()
        return Snapshot(
            nodes={path: self.view(node) for path, node in self.tree.by_path.items()},
            evictable_size=evictable,
            protected_size=protected,
            device_leaf_count=len(self._device_leaves),
            host_leaf_count=len(self._host_leaves),
            device_free=(0,) * (self.device_free() // self.page_size),
            host_free=(0,) * self.host_free(),
            transfers=self.transfers(),
            requests=self.request_views(),
            locks=locks,
            host_locks=host_locks,
            component=self.component.state(),
        )


def _path_order(path: Path) -> tuple[str, tuple[int, ...]]:
    return (path.namespace or "", path.tokens)


def _keep(members: set[TreeNode], node: TreeNode, belongs: bool) -> None:
    if belongs:
        members.add(node)
    else:
        members.discard(node)


def _mark(anchor: TreeNode, transfer: str, becomes: str | None) -> list[TreeNode]:
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


def _up_while(node: TreeNode, unwanted: Callable[[TreeNode], bool]) -> TreeNode:
    while unwanted(node):
        assert node.parent is not None
        node = node.parent
    return node
