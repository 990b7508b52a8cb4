"""How much an eviction frees, and what goes first."""

from __future__ import annotations

from collections.abc import Iterator

from hicache_model import operations as ops
from hicache_model.definitions import Family, is_device_leaf
from hicache_model.laws.law import Violation, law
from hicache_model.laws.step import Step
from hicache_model.observations import LOCKS, ORDER, PINS
from hicache_model.outcomes import Evicted, OutOfMemory
from hicache_model.policies import named
from hicache_model.snapshot import Node, Path


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
        left = sorted((n.path for n in _evictable_leaves(step)), key=Path.order)
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
