"""The slots of a transfer, until it is acknowledged."""

from __future__ import annotations

from collections.abc import Iterator

from hicache_model.definitions import is_on_path
from hicache_model.laws.law import Violation, law
from hicache_model.laws.step import Step
from hicache_model.snapshot import Path, Slots, Transfer


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
        device, host = frozenset(transfer.device), frozenset(transfer.host)
        for node in step.family.nodes.values():
            for tier, owned, moved in (("device", node.device, device), ("host", node.host, host)):
                if owned is None or moved.isdisjoint(owned) or _is_for(transfer, node.path):
                    continue
                yield Violation(
                    f"{tier} slots {sorted(moved.intersection(owned))} of a {_state(transfer)} for "
                    f"{_anchors(transfer)} belong to node {node.path} now",
                    (node.path,),
                )


def _is_for(transfer: Transfer, path: Path) -> bool:
    """Whether the node at ``path`` is one of those that the transfer copies."""
    return any(anchor is not None and is_on_path(path, anchor) for anchor in transfer.anchors)


def _tiers_of(step: Step, transfer: Transfer) -> Iterator[tuple[str, Slots, set[int]]]:
    page = step.configuration.page_size
    device = {slot for p in step.after.device_free for slot in range(p * page, (p + 1) * page)}
    yield "device", transfer.device, device
    yield "host", transfer.host, set(step.after.host_free)


def _state(transfer: Transfer) -> str:
    return f"{transfer.kind} in flight" if transfer.started else f"queued {transfer.kind}"


def _anchors(transfer: Transfer) -> str:
    return ", ".join("a node outside the tree" if a is None else str(a) for a in transfer.anchors)
