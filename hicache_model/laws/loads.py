"""What a load back may take, and leaves when it is refused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import takewhile

from hicache_model import operations as ops
from hicache_model.definitions import Family, is_on_path
from hicache_model.laws.law import Violation, law
from hicache_model.laws.step import Step
from hicache_model.observations import LOCKS
from hicache_model.outcomes import LoadedBack
from hicache_model.snapshot import Path


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
    asked = step.asked(step.operation)
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
    asked, taken = step.asked(op), outcome.tokens
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
