"""The bytes: in the slots, and as a forward pass reads them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from hicache_model.fingerprint import fingerprints
from hicache_model.laws.law import Violation, law
from hicache_model.laws.step import Step
from hicache_model.snapshot import Slots


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
            wrong = _wrong(slots or (), due, content, moving[tier])
            if wrong:
                yield Violation(
                    f"{tier} slots {wrong} of node {node.path} do not hold its KV", (node.path,)
                )
    for number, request in step.after.requests.items():
        due = fingerprints(request.namespace, request.tokens[: request.computed])
        own = request.row[request.protected :]
        wrong = _wrong(own, due[request.protected :], step.after.device_kv)
        if wrong:
            yield Violation(f"device slots {wrong} of request {number} do not hold its KV")
    for number, saved in step.after.retracted.items():
        wrong = _wrong(saved.host, fingerprints(saved.namespace, saved.tokens), step.after.host_kv)
        if wrong:
            yield Violation(f"host slots {wrong} of request {number} do not hold its KV")


def _wrong(
    slots: Slots,
    due: Slots,
    content: Sequence[int] | Mapping[int, int],
    moving: frozenset[int] = frozenset(),
) -> list[int]:
    """The slots that hold something else than is due, and are not ``moving`` either."""
    if tuple(map(content.__getitem__, slots)) == due:
        return []
    pairs = zip(slots, due, strict=False)
    return [slot for slot, value in pairs if content[slot] != value and slot not in moving]


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
