"""The laws: what must hold of any snapshot, or of any step, without asking the model.

Each is one sentence, stated positively, with the public bug that taught it. A law sees one
``Step``: the snapshots before and after, the operation and what it answered. Laws about one
snapshot look only at ``after``. Every law is shown to fail by a planted bug in tests/.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from itertools import takewhile
from typing import TypeAlias

import attrs

from hicache_model import operations as ops
from hicache_model.configuration import Configuration
from hicache_model.definitions import (
    Family,
    evictable_size,
    is_device_leaf,
    is_on_path,
    protected_size,
    usable_length,
)
from hicache_model.fingerprint import fingerprints
from hicache_model.observations import LEAF_SETS, LOCKS, ORDER, PINS
from hicache_model.outcomes import Evicted, LoadedBack, Matched, Outcome, OutOfMemory
from hicache_model.policies import named
from hicache_model.snapshot import Node, Path, Slots, Snapshot, Transfer

FREE = "the free list"

Owner: TypeAlias = Path | int | str
"""A node, by its path; a running request, by its number; or ``FREE``."""

Owners: TypeAlias = dict[int, list[Owner]]


@attrs.define(slots=False)
class Step:
    """One operation as the laws see it. ``before`` is None where it was not looked at."""

    configuration: Configuration
    operation: ops.Operation | None
    outcome: Outcome | None
    before: Snapshot | None
    after: Snapshot
    host_leaf: str = "no_backed_up_child"
    """The dialect of that name: what a host leaf is in this cache."""
    unobserved: tuple[str, ...] = ()
    """What the snapshots do not show (observations.py)."""
    split_hits: str = "both_halves"
    """The dialect of that name: which halves of a split node keep its hits."""
    request_counts: str = "each_insert"
    """The dialect of that name: which inserts of a request count as hits."""

    @cached_property
    def family(self) -> Family:
        return Family(self.after.nodes, self.host_leaf)

    @cached_property
    def old_family(self) -> Family:
        return Family(self.before.nodes if self.before else {}, self.host_leaf)

    @cached_property
    def _acknowledged(self) -> list[Path]:
        """The nodes that writes held, and do not hold any more."""
        before, after = (
            Counter(a for t in s.transfers if t.kind == "write" for a in t.anchors if a is not None)
            for s in (self.before or self.after, self.after)
        )
        return [*(before - after).elements()]

    def locks_left(self, old: Node, count: int) -> int:
        """Of ``count`` locks that a node had before, those that no acknowledgement gave back."""
        return count - sum(is_on_path(old.path, anchor) for anchor in self._acknowledged)

    @cached_property
    def device_owners(self) -> Owners:
        """Owners of each device page; a request owns its row beyond what the tree holds for it."""
        page = self.configuration.page_size
        owners: Owners = {slot: [FREE] for slot in self.after.device_free}
        for path, node in self.family.nodes.items():
            for slot in pages_of(node.device or (), page):
                owners.setdefault(slot, []).append(path)
        for number, request in self.after.requests.items():
            for slot in pages_of(request.row[request.protected :], page):
                owners.setdefault(slot, []).append(number)
        return owners

    @cached_property
    def host_owners(self) -> Owners:
        owners: Owners = {slot: [FREE] for slot in self.after.host_free}
        for path, node in self.family.nodes.items():
            for slot in node.host or ():
                owners.setdefault(slot, []).append(path)
        return owners


@attrs.define(frozen=True, slots=True)
class Violation:
    """What breaks a law, in one sentence, and the nodes that it is about."""

    message: str
    paths: tuple[Path, ...] = ()


Check = Callable[[Step], Iterable[Violation]]


@attrs.define(frozen=True, slots=True)
class Law:
    """A law; ``identifier`` is what reports, traces and gates name it by.

    ``needs`` are observations (observations.py) without which nothing can be concluded.
    """

    identifier: str
    sentence: str
    taught_by: str
    check: Check
    needs: frozenset[str] = frozenset()

    def __attrs_post_init__(self) -> None:
        if not self.sentence.endswith("."):
            raise ValueError(f"law {self.identifier} needs a sentence that ends with a full stop")


LAWS: dict[str, Law] = {}


def law(
    identifier: str, sentence: str, *, taught_by: str, needs: Iterable[str] = ()
) -> Callable[[Check], Check]:
    """Declare the function below as a law; refuses a second law of the same name."""

    def declare(check: Check) -> Check:
        if identifier in LAWS:
            raise ValueError(f"law {identifier} is declared twice; give the second another name")
        LAWS[identifier] = Law(identifier, sentence, taught_by, check, frozenset(needs))
        return check

    return declare


def judge(step: Step) -> Iterator[tuple[Law, Violation]]:
    """Every violation, in the order in which the laws are declared: host leaves first.

    A law that needs what the target does not show is not judged.
    """
    for declared in LAWS.values():
        if not declared.needs.isdisjoint(step.unobserved):
            continue
        for violation in declared.check(step):
            yield declared, violation


# -- kept sets and sizes ---------------------------------------------------------------------------


@law(
    "host-leaves",
    "The kept set evictable_host_leaves is exactly the evicted, unlocked nodes without a backed-up "
    "child.",
    taught_by="SGLang #19212, fixed in #23537",
    needs=(LEAF_SETS, LOCKS, PINS),
)
def _host_leaves(step: Step) -> Iterator[Violation]:
    kept, due = step.after.evictable_host_leaves, step.family.host_leaves()
    for path in sorted(kept - due, key=_order):
        node = step.family.nodes[path]
        backed_up = [c.path for c in step.family.children_of(node) if c.backed_up]
        why = "it is on the device" if not node.evicted else f"it is locked ({node.lock_ref})"
        if node.evicted and not node.lock_ref and node.host_lock:
            why = f"it is pinned ({node.host_lock})"
        if node.evicted and backed_up:
            why = f"its child {backed_up[0]} is still backed up"
        yield Violation(f"node {path} is in evictable_host_leaves, but {why}", (path, *backed_up))
    without = "child" if step.host_leaf == "no_child" else "backed-up child"
    for path in sorted(due - kept, key=_order):
        yield Violation(
            f"node {path} is evicted, unlocked and has no {without}, but is not in "
            "evictable_host_leaves",
            (path,),
        )


@law(
    "device-leaves",
    "The kept set of evictable device leaves is exactly the unlocked nodes on the device without a "
    "child on the device.",
    taught_by="SGLang #25068, #30106",
    needs=(LEAF_SETS, LOCKS),
)
def _device_leaves(step: Step) -> Iterator[Violation]:
    kept, due = step.after.evictable_device_leaves, step.family.device_leaves()
    for path in sorted(kept - due, key=_order):
        node = step.family.nodes[path]
        children = [c.path for c in step.family.children_of(node) if not c.evicted]
        why = "it is not on the device" if node.evicted else f"it is locked ({node.lock_ref})"
        if not node.evicted and children:
            why = f"its child {children[0]} is still on the device"
        yield Violation(f"node {path} is in the device leaves, but {why}", (path, *children))
    for path in sorted(due - kept, key=_order):
        yield Violation(
            f"node {path} is on the device, unlocked and has no child there, but is not in the "
            "device leaves",
            (path,),
        )


@law(
    "pinned-until-ack",
    "The slots of a transfer stay with the nodes it is for until it is acknowledged.",
    taught_by="SGLang #27631, #31427; vLLM #39702",
)
def _pinned_until_ack(step: Step) -> Iterator[Violation]:
    for transfer in step.after.transfers:
        for tier, slots, free in _tiers_of(step, transfer):
            gone = sorted(set(slots) & free)
            if gone:
                yield Violation(
                    f"{tier} slots {gone} of a {_state(transfer)} for {_anchors(transfer)} are "
                    f"free again before it is acknowledged"
                )
        for node in step.family.nodes.values():
            if any(a is not None and is_on_path(node.path, a) for a in transfer.anchors):
                continue
            for tier, owned, slots in (
                ("device", node.device, transfer.device),
                ("host", node.host, transfer.host),
            ):
                taken = sorted(set(owned or ()) & set(slots))
                if taken:
                    yield Violation(
                        f"{tier} slots {taken} of a {_state(transfer)} for {_anchors(transfer)} "
                        f"belong to node {node.path} now",
                        (node.path,),
                    )


def _tiers_of(step: Step, transfer: Transfer) -> Iterator[tuple[str, Slots, set[int]]]:
    page = step.configuration.page_size
    device = {slot for p in step.after.device_free for slot in range(p * page, (p + 1) * page)}
    yield "device", transfer.device, device
    yield "host", transfer.host, set(step.after.host_free)


def _state(transfer: Transfer) -> str:
    return f"{transfer.kind} in flight" if transfer.started else f"queued {transfer.kind}"


def _anchors(transfer: Transfer) -> str:
    return ", ".join("a node outside the tree" if a is None else str(a) for a in transfer.anchors)


@law(
    "no-orphan",
    "Only leaves leave the tree: every node has a copy somewhere and a parent, and nothing is kept "
    "for a node outside the tree.",
    taught_by="SGLang #30106, #22592; TensorRT-LLM #15018",
)
def _no_orphan(step: Step) -> Iterator[Violation]:
    for stray in step.after.strays:
        yield Violation(f"{stray} is kept, but is not in the tree")
    for node in step.family.nodes.values():
        if node.evicted and not node.backed_up:
            yield Violation(
                f"node {node.path} is in the tree with no copy in any tier", (node.path,)
            )
        above = step.family.parents[node.path]
        if above is not None and above not in step.family.nodes:
            yield Violation(f"node {node.path} has no parent {above} in the tree", (node.path,))
    for transfer in step.after.transfers:
        if None in transfer.anchors:
            yield Violation(f"a {transfer.kind} in flight belongs to a node that left the tree")
    for number, request in step.after.requests.items():
        if request.anchor is not None and request.anchor not in step.family.nodes:
            yield Violation(f"request {number} locks {request.anchor}, which left the tree")


@law(
    "sizes",
    "Evictable size is the unlocked tokens on the device, protected size the locked ones.",
    taught_by="SGLang #35270",
    needs=(LOCKS,),
)
def _sizes(step: Step) -> Iterator[Violation]:
    nodes = step.family.nodes.values()
    for name, kept, due in (
        ("evictable", step.after.evictable_size, evictable_size(nodes)),
        ("protected", step.after.protected_size, protected_size(nodes)),
    ):
        if kept != due:
            yield Violation(f"{name} size is kept as {kept}, but the nodes add up to {due}")


# -- the shape of the tiers ------------------------------------------------------------------------


@law(
    "device-prefix-closed",
    "The parent of a node on the device is on the device.",
    taught_by="SGLang #25088",
)
def _device_prefix_closed(step: Step) -> Iterator[Violation]:
    for node in step.family.nodes.values():
        parent = step.family.parent_of(node)
        if not node.evicted and parent is not None and parent.evicted:
            yield Violation(
                f"node {node.path} is on the device, but its parent {parent.path} is not",
                (node.path, parent.path),
            )


@law(
    "backup-prefix-closed",
    "Under write_through and write_through_selective the parent of a backed-up node is backed up.",
    taught_by="SGLang #30106, #31902; upkeep changed in 0.5.11",
)
def _backup_prefix_closed(step: Step) -> Iterator[Violation]:
    if step.configuration.write_policy == "write_back":
        return
    for node in step.family.nodes.values():
        parent = step.family.parent_of(node)
        if node.backed_up and parent is not None and not parent.backed_up:
            yield Violation(
                f"node {node.path} is backed up, but its parent {parent.path} is not",
                (node.path, parent.path),
            )


# -- memory ----------------------------------------------------------------------------------------


@law(
    "free-once",
    "No slot is freed twice.",
    taught_by="vLLM #42571; SGLang #38941, 0.5.14 (host_mem_release_queue)",
)
def _free_once(step: Step) -> Iterator[Violation]:
    for tier, free in (("device", step.after.device_free), ("host", step.after.host_free)):
        for slot, times in Counter(free).items():
            if times > 1:
                yield Violation(f"{tier} slot {slot} stands {times} times in the free list")


@law(
    "single-owner",
    "A slot has one owner: one node, one request's own row, or the free list.",
    taught_by="SGLang #35769, #35501",
)
def _single_owner(step: Step) -> Iterator[Violation]:
    for tier, owners in (("device", step.device_owners), ("host", step.host_owners)):
        for slot, its in owners.items():
            if len(its) > 1 and len(set(its)) > 1:
                names = sorted({_name_of(owner) for owner in its})
                yield Violation(f"{tier} slot {slot} belongs to {' and to '.join(names)}")
    for number, request in step.after.requests.items():
        held = request.row[: request.protected]
        wrong = [
            slot
            for slot, own in zip(held, _slots_to(step, request.anchor), strict=False)
            if slot != own
        ]
        if wrong:
            yield Violation(
                f"request {number} reads device slots {wrong}, where the tree has others for it"
            )


def _slots_to(step: Step, end: Path | None) -> Slots:
    """The device slots of the nodes down to ``end``."""
    on_path = [n for n in step.family.nodes.values() if end and is_on_path(n.path, end)]
    on_path.sort(key=lambda node: len(node.path.tokens))
    return tuple(slot for node in on_path for slot in node.device or ())


@law(
    "conservation",
    "Free slots and owned slots make up the whole pool, in each tier.",
    taught_by="SGLang #23216, #35270, #27789",
)
def _conservation(step: Step) -> Iterator[Violation]:
    page, configuration = step.configuration.page_size, step.configuration
    first = 1  # page 0 of the device pool is padding
    device = set(range(first, first + configuration.device_slots // page))
    host = set(range(configuration.host_slots))
    for tier, pool, owners in (
        ("device", device, step.device_owners),
        ("host", host, step.host_owners),
    ):
        unit = "page" if tier == "device" and page > 1 else "slot"
        lost = sorted(pool - owners.keys())
        if lost:
            yield Violation(f"{tier} {unit}s {lost} are neither free nor owned: leaked")
        strange = sorted(owners.keys() - pool)
        if strange:
            yield Violation(f"{tier} {unit}s {strange} do not exist, but are owned or free")


def pages_of(slots: Slots, page: int) -> Iterable[int]:
    """The pages that the slots lie in, each once."""
    return slots if page == 1 else sorted({slot // page for slot in slots})


def _name_of(owner: Owner) -> str:
    if isinstance(owner, Path):
        return f"node {owner}"
    return owner if isinstance(owner, str) else f"request {owner}"


@law(
    "lengths-agree",
    "A node has as many slots in each tier as it has tokens, and a request's row as many as it has "
    "computed.",
    taught_by="SGLang 0.5.11-0.5.12 prefetch under host pressure (#16370), #31108",
)
def _lengths_agree(step: Step) -> Iterator[Violation]:
    for node in step.family.nodes.values():
        for tier, slots in (("device", node.device), ("host", node.host)):
            if slots is not None and len(slots) != node.length:
                yield Violation(
                    f"node {node.path} has {node.length} tokens and {len(slots)} {tier} slots",
                    (node.path,),
                )
    for number, request in step.after.requests.items():
        if len(request.row) != request.computed:
            yield Violation(
                f"request {number} has computed {request.computed} tokens and has "
                f"{len(request.row)} slots"
            )


# -- locks and transfers ---------------------------------------------------------------------------


@law(
    "lock-balance",
    "A node's lock count is the number of holders at or below it, and its pins those at it.",
    taught_by="SGLang #24972, #24153; LMCache #2954",
    needs=(LOCKS, PINS),
)
def _lock_balance(step: Step) -> Iterator[Violation]:
    anchors = list(step.after.locks)
    anchors += [r.anchor for r in step.after.requests.values() if r.anchor is not None]
    anchors += [a for t in step.after.transfers for a in t.anchors if a is not None]
    pins = Counter(step.after.host_locks)
    for node in step.family.nodes.values():
        holders = sum(1 for anchor in anchors if is_on_path(node.path, anchor))
        if node.lock_ref != holders:
            yield Violation(
                f"node {node.path} has lock_ref {node.lock_ref}, but {holders} holders at or "
                f"below it",
                (node.path,),
            )
        if node.host_lock != pins[node.path]:
            yield Violation(
                f"node {node.path} has {node.host_lock} host pins, but {pins[node.path]} holders",
                (node.path,),
            )


@law(
    "locked-stays",
    "A locked node stays on the device and a pinned host copy stays on the host.",
    taught_by="SGLang #23696; LMCache #3187",
    needs=(LOCKS, PINS),
)
def _locked_stays(step: Step) -> Iterator[Violation]:
    if step.before is None or isinstance(step.operation, ops.Reset):
        return
    for path, old in step.old_family.nodes.items():
        node = step.family.nodes.get(path)
        locks = step.locks_left(old, old.lock_ref)
        if locks > 0 and not old.evicted and (node is None or node.evicted):
            yield Violation(f"node {path} was locked ({old.lock_ref}) and left the device", (path,))
        if old.host_lock > 0 and old.backed_up and (node is None or not node.backed_up):
            yield Violation(f"node {path} was pinned on the host and its copy is gone", (path,))


# -- bytes -----------------------------------------------------------------------------------------


@law(
    "bytes",
    "What lies in a slot is the KV of the prefix that owns it.",
    taught_by="SGLang #27631, #27562; TensorRT-LLM #8813",
)
def _bytes(step: Step) -> Iterator[Violation]:
    moving = {tier: step.after.moving(tier) for tier in ("device", "host")}
    for node in step.family.nodes.values():
        due = fingerprints(*node.path)[-node.length :]
        for tier, slots, content in (
            ("device", node.device, step.after.device_kv),
            ("host", node.host, step.after.host_kv),
        ):
            wrong = [
                slot
                for slot, value in zip(slots or (), due, strict=False)
                if content[slot] != value and slot not in moving[tier]
            ]
            if wrong:
                yield Violation(
                    f"{tier} slots {wrong} of node {node.path} do not hold its KV", (node.path,)
                )
    for number, request in step.after.requests.items():
        due = fingerprints(request.namespace, request.tokens[: request.computed])
        own = list(zip(request.row, due, strict=False))[request.protected :]
        wrong = [slot for slot, value in own if step.after.device_kv[slot] != value]
        if wrong:
            yield Violation(f"device slots {wrong} of request {number} do not hold its KV")


@law(
    "read-after-load",
    "What a forward pass reads of its prefix is the KV of that prefix: it waits for each layer "
    "that is still being loaded.",
    taught_by="SGLang #38217, #31427",
)
def _read_after_load(step: Step) -> Iterator[Violation]:
    for number, request in step.after.requests.items():
        due = fingerprints(request.namespace, request.tokens)[: len(request.read)]
        for what, read in (("", request.read), (" of its window", request.component_read)):
            first = len(due) - len(read)
            pairs = enumerate(zip(read, due[first:], strict=False), first)
            wrong = [position for position, (value, wanted) in pairs if value != wanted]
            if wrong:
                text = f"the forward pass of request {number} read other KV{what} at positions"
                yield Violation(f"{text} {wrong}")


# -- what an operation answers and does ------------------------------------------------------------


@law(
    "namespace-isolation",
    "A lookup in one namespace answers with nothing of another.",
    taught_by="SGLang #26747, #37058, #38577",
)
def _namespace_isolation(step: Step) -> Iterator[Violation]:
    if not isinstance(step.outcome, Matched) or not isinstance(step.operation, ops.Match):
        return
    given = set(step.outcome.slots)
    for node in step.family.nodes.values():
        foreign = sorted(given & set(node.device or ()))
        if foreign and node.path.namespace != step.operation.namespace:
            yield Violation(
                f"a lookup in {step.operation.namespace!r} answered slots {foreign} of node "
                f"{node.path}",
                (node.path,),
            )


@law(
    "longest-prefix",
    "A lookup answers with the slots of the longest prefix on the device, in order.",
    taught_by="vLLM #37076",
)
def _longest_prefix(step: Step) -> Iterator[Violation]:
    if not isinstance(step.outcome, Matched) or not isinstance(step.operation, ops.Match):
        return
    tokens = step.operation.tokens
    asked = Path(
        step.operation.namespace,
        tokens[: len(tokens) // step.configuration.page_size * step.configuration.page_size],
    )
    due: list[int] = []
    on_path = [n for n in step.family.nodes.values() if is_on_path(n.path, asked)]
    on_path.sort(key=lambda n: len(n.path.tokens))
    for node in on_path:
        due.extend(node.device or ())
    if step.configuration.component == "swa":
        values = [bool(n.component and n.component.device is not None) for n in on_path]
        has = [v for v, n in zip(values, on_path, strict=True) for _ in range(n.length)]
        due = due[: usable_length(has, step.configuration.window)]
    if step.configuration.component == "mamba":
        ends = [len(n.path.tokens) for n in on_path if n.component and n.component.device]
        due = due[: max(ends, default=0)]
    if step.outcome.slots != tuple(due) or step.outcome.device_length != len(due):
        yield Violation(
            f"a lookup of {asked} answered {step.outcome.device_length} tokens in slots "
            f"{list(step.outcome.slots)}, but the tree holds slots {due} for it"
        )


@law(
    "failed-step-changes-nothing",
    "A load back that is refused leaves what it asked for on the host, and locks, pins and "
    "transfers as they were.",
    taught_by="SGLang 0.5.11 (write_backup returning 0), #27108",
)
def _failed_step(step: Step) -> Iterator[Violation]:
    refused = isinstance(step.outcome, LoadedBack) and step.outcome.tokens == 0
    if not refused or step.before is None:
        return
    if Counter(step.after.transfers) - Counter(step.before.transfers):
        yield Violation("a refused load back left a transfer behind")
    assert isinstance(step.operation, ops.LoadBack)
    asked = Path(step.operation.namespace, step.operation.tokens)
    for path, wanted in step.old_family.nodes.items():
        if wanted.evicted and is_on_path(path, asked) and path not in step.family.nodes:
            yield Violation(
                f"a refused load back of {asked} lost node {path}, which lay on the host", (path,)
            )
    for path, node in step.family.nodes.items():
        old = step.old_family.nodes.get(path)
        locks = 0 if old is None else step.locks_left(old, old.lock_ref)
        if old is not None and (locks, old.host_lock) != (node.lock_ref, node.host_lock):
            yield Violation(
                f"a refused load back changed the locks of node {path} from {locks} and "
                f"{old.host_lock} pins to {node.lock_ref} and {node.host_lock}",
                (path,),
            )


@law(
    "within-quota",
    "A load back takes no more than its quota, what it locks above it included.",
    taught_by="SGLang #38481",
    needs=(LOCKS,),
)
def _within_quota(step: Step) -> Iterator[Violation]:
    op, outcome = step.operation, step.outcome
    if not isinstance(op, ops.LoadBack) or not isinstance(outcome, LoadedBack):
        return
    if step.before is None or op.quota is None or not outcome.tokens:
        return
    asked, taken = Path(op.namespace, op.tokens), outcome.tokens
    component = step.configuration.component != "full"
    if component:  # it may end before, and some tokens may have lacked the component alone
        asked = next(filter(None, step.after.transfers[-1].anchors), asked)
    above = [n for n in step.old_family.nodes.values() if is_on_path(n.path, asked)]
    locked = sum(n.length for n in above if not n.evicted and not n.lock_ref)
    if component:
        taken = _on_device_of(step.family, asked) - _on_device_of(step.old_family, asked)
    if taken + locked > op.quota:
        yield Violation(
            f"a load back of {asked} takes {taken} tokens and locks {locked}, and its quota is "
            f"{op.quota}"
        )


def _on_device_of(family: Family, asked: Path) -> int:
    """How many tokens of ``asked`` are on the device."""
    found = 0
    for node in family.nodes.values():
        if node.evicted or node.path.namespace != asked.namespace:
            continue
        pairs = zip(node.path.tokens, asked.tokens, strict=False)
        shared = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
        found += max(0, shared - len(node.path.tokens) + node.length)
    return found


@law(
    "promised-backup",
    "Under write_through what is inserted is backed up, or the host has no room for it.",
    taught_by="SGLang #39444, #33714",
)
def _promised_backup(step: Step) -> Iterator[Violation]:
    if step.before is None or step.configuration.write_policy != "write_through":
        return
    if _counts_nothing(step, step.before):
        return
    room = len(step.after.host_free)
    for path, node in step.family.nodes.items():
        if node.backed_up or node.length > room or not _is_inserted(step, path):
            continue
        parent = step.family.parent_of(node)
        first = parent is None or parent.backed_up  # a parent comes before, and may find no room
        if first and _window_has_room(step, path):
            yield Violation(
                f"node {path} was inserted and has no host copy, although {room} host slots are "
                "free",
                (path,),
            )


def _window_has_room(step: Step, path: Path) -> bool:
    """Whether a component's pool on the host has room for all that is copied with a node."""
    if step.after.component is None:
        return True
    above = [n for n in step.family.nodes.values() if is_on_path(n.path, path)]
    lacking = [n for n in above if n.component and n.component.host is None]
    needed = sum(step.configuration.component_weight(n.length) for n in lacking)
    return needed <= len(step.after.component.host_free)


def _is_inserted(step: Step, path: Path) -> bool:
    """Whether an insert passed this node; of one within a request only what is new tells."""
    op = step.operation
    if isinstance(op, ops.Insert):
        return is_on_path(path, Path(op.namespace, op.tokens))
    return not any(_covers(old, path) for old in step.old_family.nodes.values())


def _counts_nothing(step: Step, before: Snapshot) -> bool:
    """Whether what is inserted counts no hit: by its caller's word, or as a chunk of a prompt."""
    op = step.operation
    if isinstance(op, ops.ExtendRequest) and step.request_counts == "each_insert":
        chunk = before.requests[op.request].computed
        return step.after.requests[op.request].protected <= chunk
    return isinstance(op, ops.Insert) and op.chunked


def _covers(node: Node, path: Path) -> bool:
    """Whether the node reaches from above the end of ``path`` to it or beyond: it may be split."""
    start = len(node.path.tokens) - node.length
    return start < len(path.tokens) and is_on_path(path, node.path)


@law(
    "split-neutral",
    "A split changes no content, lock, policy or write in flight: both halves together are what "
    "the node was.",
    taught_by="SGLang #16946, #27072; 0.5.8 (_split_node dropped the priority)",
    needs=(ORDER,),
)
def _split_neutral(step: Step) -> Iterator[Violation]:
    # these may evict a half that they split off, and compute it anew in other slots; and an insert
    # gives the KV of a tombstone new slots along with the component's
    recomputes = isinstance(step.operation, (ops.BeginRequest, ops.ExtendRequest))
    for path, old in step.old_family.nodes.items():
        node = step.family.nodes.get(path)
        if node is None or node.length >= old.length or node.creation != old.creation:
            continue  # not split, or another node in its place
        pieces = _pieces(step.family, node, old.length)
        moved = recomputes or (old.component is not None and old.component.device is None)
        for tier in ("host",) if moved else ("device", "host"):
            before = getattr(old, tier)
            now = [getattr(piece, tier) for piece in pieces]
            if before is None or None in now:
                continue
            joined = tuple(slot for slots in now for slot in slots)
            if joined != before:
                yield Violation(
                    f"node {path} was split, and its {tier} slots {list(before)} became "
                    f"{list(joined)}",
                    tuple(piece.path for piece in pieces),
                )
        for piece in pieces:
            hits = piece.hit_count if step.split_hits == "both_halves" else node.hit_count
            if piece.priority < old.priority or hits < old.hit_count:
                yield Violation(
                    f"node {path} was split, and its piece {piece.path} lost priority or hits",
                    (piece.path, path),
                )

    for transfer in step.after.transfers:
        yield from _unpublished(step.family, transfer)


def _unpublished(family: Family, transfer: Transfer) -> Iterator[Violation]:
    """Host slots of a write that are in none of the nodes that its acknowledgement publishes."""
    if transfer.kind != "write" or transfer.published is None:
        return
    published = [family.nodes[path] for path in transfer.published if path in family.nodes]
    lost = set(transfer.host) - {slot for node in published for slot in node.host or ()}
    if lost:
        yield Violation(
            f"the write in flight to host slots {list(transfer.host)} will publish "
            f"{', '.join(str(node.path) for node in published) or 'nothing'}, without slots "
            f"{sorted(lost)}",
            tuple(node.path for node in published),
        )


def _pieces(family: Family, node: Node, length: int) -> list[Node]:
    """The nodes that cover the last ``length`` tokens of ``node``'s path, from the top."""
    pieces, covered, piece = [node], node.length, family.parent_of(node)
    while covered < length and piece is not None:
        pieces.insert(0, piece)
        covered += piece.length
        piece = family.parent_of(piece)
    return pieces


@law(
    "progress",
    "Eviction reports what it freed, and frees what was asked for as long as something is "
    "evictable.",
    taught_by="SGLang #4987, #12875, #27108; 0.5.11-0.5.14 (nothing freed when the host is full)",
    needs=(LOCKS, PINS),
)
def _progress(step: Step) -> Iterator[Violation]:
    if isinstance(step.outcome, OutOfMemory):
        yield Violation(
            f"an allocation of {step.outcome.needed} tokens failed although enough was evictable"
        )
    if not isinstance(step.outcome, Evicted) or not isinstance(step.operation, ops.EvictDevice):
        return
    if step.before is not None:
        freed = _on_device(step.old_family) - _on_device(step.family)
        if freed != step.outcome.tokens:
            yield Violation(
                f"eviction reports {step.outcome.tokens} freed tokens, but {freed} left the device"
            )
    if step.operation.component == "full" and step.outcome.tokens < step.operation.count:
        left = sorted((n.path for n in _evictable_leaves(step)), key=_order)
        if left:
            yield Violation(
                f"eviction freed {step.outcome.tokens} of {step.operation.count} tokens, although "
                f"node {left[0]} is an unlocked device leaf",
                tuple(left),
            )


def _on_device(family: Family) -> int:
    return sum(node.length for node in family.nodes.values() if not node.evicted)


def _evictable_leaves(step: Step) -> list[Node]:
    """Device leaves that may go: under write_back not those that need room beside pinned copies."""
    leaves = []
    for node in step.family.nodes.values():
        if not is_device_leaf(node, step.family.children_of(node)):
            continue
        pinned = any(below.host_lock for below in step.family.subtree(node))
        if step.configuration.write_policy == "write_back" and pinned and not node.backed_up:
            continue
        leaves.append(node)
    return leaves


@law(
    "policy-order",
    "The first victim of an eviction is the policy's first choice.",
    taught_by="SGLang #18843; 0.5.8 (_split_node dropped the priority)",
    needs=(ORDER, LOCKS, PINS),
)
def _policy_order(step: Step) -> Iterator[Violation]:
    if step.before is None:
        return
    policy = named(step.configuration.eviction_policy, step.configuration.page_size)
    old, op = step.old_family, step.operation
    if not isinstance(op, (ops.EvictDevice, ops.EvictHost)) or op.component != "full":
        return
    if isinstance(op, ops.EvictDevice):
        candidates = [
            old.nodes[path]
            for path in old.device_leaves()
            if step.configuration.write_policy != "write_back" or old.nodes[path].backed_up
        ]
        stays = [n for n in candidates if _is_on_device(step.family, n.path)]
        gone = [n for n in candidates if not _is_on_device(step.family, n.path)]
    else:
        candidates = [old.nodes[p] for p in old.host_leaves() if not old.nodes[p].host_lock]
        stays = [n for n in candidates if n.path in step.family.nodes]
        gone = [n for n in candidates if n.path not in step.family.nodes]
    if stays and gone:
        first, last = min(stays, key=policy), min(gone, key=policy)
        if policy(first) < policy(last):
            yield Violation(
                f"node {last.path} was evicted before node {first.path}, which "
                f"{step.configuration.eviction_policy} puts first",
                (first.path, last.path),
            )


def _is_on_device(family: Family, path: Path) -> bool:
    node = family.nodes.get(path)
    return node is not None and not node.evicted


@law(
    "reset-is-new",
    "After a reset the cache is as constructed: nothing cached, everything free.",
    taught_by="SGLang #23216; 0.5.14 (host_mem_release_queue)",
)
def _reset_is_new(step: Step) -> Iterator[Violation]:
    if not isinstance(step.operation, ops.Reset):
        return
    after, configuration = step.after, step.configuration
    found = {
        "nodes in the tree": len(after.nodes),
        "members of the device leaves": after.device_leaf_count,
        "members of the host leaves": after.host_leaf_count,
        "evictable tokens": after.evictable_size,
        "protected tokens": after.protected_size,
        "transfers in flight": len(after.transfers),
        "device pages in use": configuration.device_slots // configuration.page_size
        - len(after.device_free),
        "host slots in use": configuration.host_slots - len(after.host_free),
    }
    for what, count in found.items():
        if count:
            yield Violation(f"after a reset there are {count} {what}")


def _order(path: Path) -> tuple[str, Slots]:
    return (path.namespace or "", path.tokens)


# A component has laws of its own. They are declared by being imported, and after these: the order
# of the laws is that of their declaration, and the first one broken names a divergence.
from hicache_model.components import laws as component_laws  # noqa: E402, F401
