"""Each slot: free or owned, once, and none lost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from hicache_model.definitions import is_on_path
from hicache_model.laws.law import Violation, law
from hicache_model.laws.step import Owner, Step
from hicache_model.snapshot import Path, Slots


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
    "A slot has one owner: one node, one request's own row or what is kept of it on the host, or "
    "the free list.",
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
    page = step.configuration.page_size
    for number, saved in step.after.retracted.items():
        due = -(-len(saved.tokens) // page) * page
        if len(saved.host) != due:
            yield Violation(
                f"request {number} waits with {len(saved.tokens)} tokens on the host and has "
                f"{len(saved.host)} slots there, not {due}"
            )
