"""Locks and pins."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from hicache_model import operations as ops
from hicache_model.definitions import is_on_path
from hicache_model.laws.law import Violation, law
from hicache_model.laws.step import Step
from hicache_model.observations import LOCKS, PINS


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
