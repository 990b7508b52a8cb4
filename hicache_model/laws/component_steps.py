"""What evictions, transfers and resets do with a component's values."""

from __future__ import annotations

from collections.abc import Iterator

from hicache_model import operations as ops
from hicache_model.definitions import is_device_leaf, is_on_path
from hicache_model.laws.component import Own, component_law, on_device, own
from hicache_model.laws.law import Violation
from hicache_model.laws.step import Step
from hicache_model.observations import COMPONENT_HOST, LOCKS, ORDER, PINS
from hicache_model.outcomes import Evicted
from hicache_model.snapshot import ComponentState, Node, Path


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
        freed = on_device(step, own(step.old_family.nodes.values())) - on_device(step, nodes)
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
        "device pages of the component in use": pools.component_slots // pools.component_page
        - len(state.device_free),
        "host slots of the component in use": pools.component_host_slots - len(state.host_free),
        "members of the component's LRU lists": len(state.lru) + len(state.host_lru),
        "full slots mapped to the component": sum(slot != 0 for slot in state.mapping),
    }.items():
        if count:
            yield Violation(f"after a reset there are {count} {what}")
