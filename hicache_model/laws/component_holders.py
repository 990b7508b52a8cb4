"""Locks and pins of a component's values."""

from __future__ import annotations

from collections.abc import Iterator

from hicache_model import operations as ops
from hicache_model.definitions import is_on_path
from hicache_model.laws.component import Own, component_law, own
from hicache_model.laws.law import Violation
from hicache_model.laws.step import Step
from hicache_model.observations import COMPONENT_HOST, LOCKS, PINS
from hicache_model.snapshot import ComponentState, Node, Path


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
