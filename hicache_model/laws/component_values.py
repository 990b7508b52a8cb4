"""The values of a component: where they may be, their slots, bytes and lists."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from hicache_model.fingerprint import fingerprints
from hicache_model.laws.component import Own, component_law, on_device, weight
from hicache_model.laws.law import Violation
from hicache_model.laws.step import Step, pages_of
from hicache_model.observations import COMPONENT_HOST, LOCKS, ORDER, PINS
from hicache_model.snapshot import ComponentState, Request


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
            due = weight(step, node)
            if slots is not None and len(slots) != due:
                text = f"node {node.path} has {len(slots)} {tier} slots of its component, due {due}"
                yield Violation(text, (node.path,))


@component_law(
    "component-slots",
    "Each slot of a component's pools has one owner, and none is lost or freed twice.",
    taught_by="SGLang #27586, #27789, #25805, #35501",
)
def _slots(step: Step, state: ComponentState, nodes: list[Own]) -> Iterator[Violation]:
    page, pools = step.configuration.component_page, step.configuration
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
        due = fingerprints(*node.path)[-weight(step, node) :]
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
        computed = slice(request.component_start, request.computed)
        due = fingerprints(request.namespace, request.tokens)[computed]
        pairs = zip(request.component_row, due, strict=False)
        wrong = [slot for slot, kv in pairs if state.device_kv[slot] != kv]
        if wrong:
            yield Violation(f"slots {wrong} of request {number} do not hold its component's KV")
        if not keeps_its_state(request, state):
            text = (
                f"request {number} does not keep the state after {request.component_tracked} tokens"
            )
            yield Violation(text)


def keeps_its_state(request: Request, state: ComponentState) -> bool:
    """Whether what a request will give to the tree is the state at that position, if any."""
    if not request.component_tracked:
        return True
    due = fingerprints(request.namespace, request.tokens)[request.component_tracked - 1]
    return state.device_kv[request.component_row[1]] == due


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
    held = on_device(step, [(n, mine) for n, mine in nodes if mine.lock_ref > 0])
    free = on_device(step, nodes) - held
    for name, kept, due in (
        ("evictable", state.evictable_size, free),
        ("protected", state.protected_size, held),
    ):
        if kept != due:
            text = f"{name} size of the component is kept as {kept}, but the nodes add up to {due}"
            yield Violation(text)
