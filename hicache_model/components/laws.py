"""What must hold of a component beside full attention, in any snapshot or step, model or no model.

Nothing is concluded where there is no such component. hicache_model.laws hands these on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator

from hicache_model import operations as ops
from hicache_model.definitions import is_device_leaf, is_on_path
from hicache_model.fingerprint import fingerprints
from hicache_model.laws import Check, Step, Violation, law, pages_of
from hicache_model.observations import COMPONENT_HOST, LOCKS, ORDER, PINS
from hicache_model.outcomes import Evicted
from hicache_model.snapshot import ComponentState, Node, NodeComponent, Path

Own = tuple[Node, NodeComponent]
Find = Callable[[Step, ComponentState, list[Own]], Iterator[Violation]]


IDENTIFIERS: set[str] = set()
"""The laws that say something only where there is a component."""


def component_law(
    identifier: str, sentence: str, *, taught_by: str, needs: Iterable[str] = ()
) -> Callable[[Find], Check]:
    """As ``law``, for a check that takes the component's state and its part of each node too."""
    IDENTIFIERS.add(identifier)

    def declare(find: Find) -> Check:
        def check(step: Step) -> Iterable[Violation]:
            state = step.after.component
            return () if state is None else find(step, state, own(step.family.nodes.values()))

        return law(identifier, sentence, taught_by=taught_by, needs=needs)(check)

    return declare


def own(nodes: Iterable[Node]) -> list[Own]:
    return [(node, node.component) for node in nodes if node.component is not None]


@component_law(
    "component-in-step",
    "A component has a value on the device only where the full KV is there, and, but for "
    "write_back, on the host only where the full KV is there.",
    taught_by="SGLang #27586, #31108",
)
def _in_step(step: Step, state: ComponentState, nodes: list[Own]) -> Iterator[Violation]:
    for node, mine in nodes:
        if mine.device is not None and node.evicted:
            text = f"node {node.path} left the device, and its component's value is still there"
            yield Violation(text, (node.path,))
        alone = mine.host is not None and not node.backed_up
        if alone and step.configuration.write_policy != "write_back":
            text = f"node {node.path} is not backed up, but its component's value is"
            yield Violation(text, (node.path,))


@component_law(
    "component-lengths",
    "A node's value of a component has a slot for each token, or one for a state, in each tier.",
    taught_by="SGLang #31108",
)
def _lengths(step: Step, state: ComponentState, nodes: list[Own]) -> Iterator[Violation]:
    for node, mine in nodes:
        host = None if COMPONENT_HOST in step.unobserved else mine.host
        for tier, slots in (("device", mine.device), ("host", host)):
            due = _weight(step, node)
            if slots is not None and len(slots) != due:
                text = f"node {node.path} has {len(slots)} {tier} slots of its component, due {due}"
                yield Violation(text, (node.path,))


@component_law(
    "component-slots",
    "Each slot of a component's pools has one owner, and none is lost or freed twice.",
    taught_by="SGLang #27586, #27789, #25805, #35501",
)
def _slots(step: Step, state: ComponentState, nodes: list[Own]) -> Iterator[Violation]:
    page, pools = step.configuration.page_size, step.configuration
    device = [(f"node {node.path}", pages_of(mine.device or (), page)) for node, mine in nodes]
    for number, request in step.after.requests.items():
        device.append((f"request {number}", pages_of(request.component_row, page)))
    host = [(f"node {node.path}", mine.host or ()) for node, mine in nodes]
    for tier, owned, free, pool in (
        ("device", device, state.device_free, range(1, 1 + pools.component_slots // page)),
        ("host", host, state.host_free, range(pools.component_host_slots)),
    ):
        if tier == "host" and COMPONENT_HOST in step.unobserved:
            continue
        owners: dict[int, list[str]] = {slot: [] for slot in pool}
        for name, slots in (*owned, ("the free list", free)):
            for slot in slots:
                owners.setdefault(slot, []).append(name)
        for slot, names in owners.items():
            if len(names) != 1 or slot not in pool:
                whose = " and to ".join(names) or "nobody: leaked"
                yield Violation(f"{tier} slot {slot} of the component belongs to {whose}")


@component_law(
    "component-mapping",
    "A full slot is mapped to its node's slot of the component, and to none where there is none.",
    taught_by="SGLang #27586, #27789",
)
def _mapping(step: Step, state: ComponentState, nodes: list[Own]) -> Iterator[Violation]:
    if step.configuration.component != "swa":  # others are found through nodes alone
        return
    page = step.configuration.page_size
    due = {slot: 0 for p in step.after.device_free for slot in range(p * page, (p + 1) * page)}
    for node, mine in nodes:
        due.update(zip(node.device or (), mine.device or (0,) * node.length, strict=False))
    for slot, wanted in due.items():
        if state.mapping[slot] != wanted:
            yield Violation(
                f"full slot {slot} is mapped to slot {state.mapping[slot]} of the component, "
                f"due {wanted or 'none'}"
            )


@component_law(
    "component-bytes",
    "What lies in a slot of a component is its KV of the prefix that owns it.",
    taught_by="SGLang #27586, #36081",
)
def _bytes(step: Step, state: ComponentState, nodes: list[Own]) -> Iterator[Violation]:
    moving = {tier: step.after.moving(tier, of_component=True) for tier in ("device", "host")}
    for node, mine in nodes:
        due = fingerprints(*node.path)[-_weight(step, node) :]
        for tier, slots, content in (
            ("device", mine.device, state.device_kv),
            ("host", mine.host, state.host_kv),
        ):
            pairs = zip(slots or (), due, strict=False)
            wrong = [s for s, kv in pairs if content[s] != kv and s not in moving[tier]]
            if wrong:
                text = f"{tier} slots {wrong} of node {node.path} do not hold its component's KV"
                yield Violation(text, (node.path,))
    for number, request in step.after.requests.items():
        due = fingerprints(request.namespace, request.tokens)[request.component_start :]
        pairs = zip(request.component_row, due, strict=False)
        wrong = [slot for slot, kv in pairs if state.device_kv[slot] != kv]
        if wrong:
            yield Violation(f"slots {wrong} of request {number} do not hold its component's KV")


@component_law(
    "component-lru",
    "A component's LRU lists are exactly the nodes with a value on the device, and those with an "
    "unpinned value on the host alone.",
    taught_by="SGLang #24972, #25277",
    needs=(ORDER, PINS, COMPONENT_HOST),
)
def _lru(step: Step, state: ComponentState, nodes: list[Own]) -> Iterator[Violation]:
    device = [node.path for node, mine in nodes if mine.device is not None]
    host = [
        node.path
        for node, mine in nodes
        if mine.host is not None and mine.device is None and not mine.host_lock
    ]
    for tier, kept, due in (("device", state.lru, device), ("host", state.host_lru, host)):
        for path, count in (Counter(kept) - Counter(due)).items():
            text = f"node {path} stands {count} times too often in the component's {tier} LRU list"
            yield Violation(text, (path,))
        for path in Counter(due) - Counter(kept):
            yield Violation(f"node {path} is not in the component's {tier} LRU list", (path,))


@component_law(
    "component-sizes",
    "A component's evictable size is the unlocked slots of its device pool, protected size the "
    "locked ones.",
    taught_by="SGLang #35270",
    needs=(LOCKS,),
)
def _sizes(step: Step, state: ComponentState, nodes: list[Own]) -> Iterator[Violation]:
    held = _on_device(step, [(n, mine) for n, mine in nodes if mine.lock_ref > 0])
    free = _on_device(step, nodes) - held
    for name, kept, due in (
        ("evictable", state.evictable_size, free),
        ("protected", state.protected_size, held),
    ):
        if kept != due:
            text = f"{name} size of the component is kept as {kept}, but the nodes add up to {due}"
            yield Violation(text)


@component_law(
    "component-lock-balance",
    "A node's lock count of a component is the number of holders whose part of the path covers it, "
    "and so are its pins.",
    taught_by="SGLang #24972, #24153",
    needs=(LOCKS, PINS),
)
def _lock_balance(step: Step, state: ComponentState, nodes: list[Own]) -> Iterator[Violation]:
    for node, mine in nodes:
        for words, count, held in (
            ("lock_ref", mine.lock_ref, state.locks),
            ("pins", mine.host_lock, state.pins),
        ):
            holders = sum(1 for end, start in held if _covers(node, end, start))
            if count != holders:
                text = (
                    f"node {node.path} has {count} {words} of its component, but {holders} holders"
                )
                yield Violation(text, (node.path,))


def _covers(node: Node, end: Path, start: int) -> bool:
    return is_on_path(node.path, end) and len(node.path.tokens) > start


@component_law(
    "window-held",
    "Who holds a node holds the component's values of its last window, or of all there is above.",
    taught_by="SGLang #24972",
    needs=(LOCKS, PINS),
)
def _window_held(step: Step, state: ComponentState, nodes: list[Own]) -> Iterator[Violation]:
    if step.configuration.component != "swa":
        return
    for end, start in (*state.locks, *state.pins):
        if start > max(0, len(end.tokens) - step.configuration.window):
            text = f"a holder of {end} holds the component from {start} on: less than its window"
            yield Violation(text, (end,))


@component_law(
    "component-locked-stays",
    "A component's locked value stays on the device, and a pinned one on the host.",
    taught_by="SGLang #23696",
    needs=(LOCKS, PINS, COMPONENT_HOST),
)
def _locked_stays(step: Step, state: ComponentState, nodes: list[Own]) -> Iterator[Violation]:
    if step.before is None or isinstance(step.operation, ops.Reset):
        return
    now = {node.path: mine for node, mine in nodes}
    moves = None  # the lock of a request that goes on moves with its window
    if isinstance(step.operation, ops.ExtendRequest):
        moves = step.before.requests[step.operation.request].anchor
    for node, was in own(step.old_family.nodes.values()):
        after = now.get(node.path)
        locks = was.lock_ref - (moves is not None and is_on_path(node.path, moves))
        locks = step.locks_left(node, locks)
        if locks > 0 and was.device is not None and (after is None or after.device is None):
            text = f"node {node.path} was locked and its component's value left the device"
            yield Violation(text, (node.path,))
        if was.host_lock and was.host is not None and (after is None or after.host is None):
            text = f"node {node.path} was pinned and its component's host copy is gone"
            yield Violation(text, (node.path,))


@component_law(
    "component-progress",
    "Eviction reports what it freed of a component's pool, and frees what was asked for as long as "
    "something is evictable.",
    taught_by="SGLang #28161",
    needs=(LOCKS, PINS),
)
def _progress(step: Step, state: ComponentState, nodes: list[Own]) -> Iterator[Violation]:
    op, outcome = step.operation, step.outcome
    if not isinstance(op, ops.EvictDevice) or not isinstance(outcome, Evicted):
        return
    if step.before is not None:
        freed = _on_device(step, own(step.old_family.nodes.values())) - _on_device(step, nodes)
        if freed != outcome.component_tokens:
            yield Violation(
                f"eviction reports {outcome.component_tokens} freed tokens of the component, but "
                f"{freed} left the device"
            )
    if op.component == "full" or outcome.component_tokens >= op.count:
        return
    for node, mine in nodes:
        if mine.device is not None and not mine.lock_ref and not _may_stay(step, node):
            yield Violation(
                f"eviction freed {outcome.component_tokens} of {op.count} tokens of the component, "
                f"although the value of node {node.path} is not locked",
                (node.path,),
            )


def _on_device(step: Step, nodes: list[Own]) -> int:
    """Slots of the component's pool that the values of ``nodes`` take."""
    return sum(_weight(step, node) for node, mine in nodes if mine.device is not None)


def _weight(step: Step, node: Node) -> int:
    return step.configuration.component_weight(node.length)


def _may_stay(step: Step, node: Node) -> bool:
    """A leaf that has to be written back first, and that pins below it keep from being dropped."""
    if step.configuration.write_policy != "write_back" or node.backed_up:
        return False
    return is_device_leaf(node, step.family.children_of(node)) and any(
        below.host_lock or (below.component is not None and below.component.host_lock)
        for below in step.family.subtree(node)
    )


@component_law(
    "component-order",
    "An eviction of a component takes the least recently used values first.",
    taught_by="SGLang #25277",
    needs=(ORDER, LOCKS, PINS),
)
def _order(step: Step, state: ComponentState, nodes: list[Own]) -> Iterator[Violation]:
    op = step.operation
    before = step.before.component if step.before is not None else None
    if before is None or not isinstance(op, (ops.EvictDevice, ops.EvictHost)):
        return
    if op.component == "full":
        return
    on_device = isinstance(op, ops.EvictDevice)
    left = {n.path for n, mine in nodes if (mine.device if on_device else mine.host) is not None}
    old = step.old_family.nodes
    kept: Path | None = None
    for path in before.lru if on_device else before.host_lru:
        was = old[path].component if path in old else None
        if was is None or (was.lock_ref if on_device else was.host_lock):
            continue
        if path not in left and kept is not None:
            text = f"the value of node {path} was evicted before that of {kept}, which is older"
            yield Violation(text, (kept, path))
            return
        if (
            path in left
            and kept is None
            and not (on_device and _may_stay(step, step.family.nodes[path]))
        ):
            kept = path


@component_law(
    "component-pinned-until-ack",
    "A component's slots of a transfer stay with the nodes it is for until it is acknowledged.",
    taught_by="SGLang #35769, #34975",
)
def _pinned(step: Step, state: ComponentState, nodes: list[Own]) -> Iterator[Violation]:
    for transfer in step.after.transfers:
        on_path = [
            mine
            for node, mine in nodes
            if any(end is not None and is_on_path(node.path, end) for end in transfer.anchors)
        ]
        for tier, slots, owned in (
            ("device", transfer.component_device, [m.device or () for m in on_path]),
            ("host", transfer.component_host, [m.host or () for m in on_path]),
        ):
            if tier == "host" and COMPONENT_HOST in step.unobserved:
                continue
            gone = sorted(set(slots) - {slot for some in owned for slot in some})
            if gone:
                yield Violation(
                    f"{tier} slots {gone} of the component, in a {transfer.kind} that is not "
                    "acknowledged, are no longer those of its nodes"
                )


@component_law(
    "component-reset",
    "After a reset a component's pools are free and its lists empty.",
    taught_by="SGLang #23216",
)
def _reset(step: Step, state: ComponentState, nodes: list[Own]) -> Iterator[Violation]:
    if not isinstance(step.operation, ops.Reset):
        return
    pools = step.configuration
    for what, count in {
        "device pages of the component in use": pools.component_slots // pools.page_size
        - len(state.device_free),
        "host slots of the component in use": pools.component_host_slots - len(state.host_free),
        "members of the component's LRU lists": len(state.lru) + len(state.host_lru),
        "full slots mapped to the component": sum(slot != 0 for slot in state.mapping),
    }.items():
        if count:
            yield Violation(f"after a reset there are {count} {what}")
