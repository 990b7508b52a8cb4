"""What an insert promises, and the nodes that it splits."""

from __future__ import annotations

from collections.abc import Iterator

from hicache_model import operations as ops
from hicache_model.definitions import Family, is_on_path
from hicache_model.laws.law import Violation, law
from hicache_model.laws.step import Step
from hicache_model.observations import ORDER
from hicache_model.snapshot import Node, Path, Snapshot, Transfer


@law(
    "promised-backup",
    "Under write_through what is inserted is backed up, or the host has no room for it.",
    taught_by="SGLang #39444, #33714",
)
def _promised_backup(step: Step) -> Iterator[Violation]:
    if step.before is None or step.configuration.write_policy != "write_through":
        return
    if _counts_nothing(step, step.before):
        return
    room = len(step.after.host_free)
    for path, node in step.family.nodes.items():
        if node.backed_up or node.length > room or not _is_inserted(step, path):
            continue
        parent = step.family.parent_of(node)
        first = parent is None or parent.backed_up  # a parent comes before, and may find no room
        if first and _window_has_room(step, path):
            yield Violation(
                f"node {path} was inserted and has no host copy, although {room} host slots are "
                "free",
                (path,),
            )


def _window_has_room(step: Step, path: Path) -> bool:
    """Whether a component's pool on the host has room for all that is copied with a node."""
    if step.after.component is None:
        return True
    above = [n for n in step.family.nodes.values() if is_on_path(n.path, path)]
    lacking = [n for n in above if n.component and n.component.host is None]
    needed = sum(step.configuration.component_weight(n.length) for n in lacking)
    return needed <= len(step.after.component.host_free)


def _is_inserted(step: Step, path: Path) -> bool:
    """Whether an insert passed this node; of one within a request only what is new tells."""
    op = step.operation
    if isinstance(op, ops.Insert):
        return is_on_path(path, step.asked(op))
    return not any(_covers(old, path) for old in step.old_family.nodes.values())


def _counts_nothing(step: Step, before: Snapshot) -> bool:
    """Whether what is inserted counts no hit: by its caller's word, or as a chunk of a prompt."""
    op = step.operation
    if isinstance(op, ops.ExtendRequest) and step.request_counts == "each_insert":
        chunk = before.requests[op.request].computed
        return step.after.requests[op.request].protected <= chunk
    return isinstance(op, ops.Insert) and op.chunked


def _covers(node: Node, path: Path) -> bool:
    """Whether the node reaches from above the end of ``path`` to it or beyond: it may be split."""
    start = len(node.path.tokens) - node.length
    return start < len(path.tokens) and is_on_path(path, node.path)


@law(
    "split-neutral",
    "A split changes no content, lock, policy or write in flight: both halves together are what "
    "the node was.",
    taught_by="SGLang #16946, #27072; 0.5.8 (_split_node dropped the priority)",
    needs=(ORDER,),
)
def _split_neutral(step: Step) -> Iterator[Violation]:
    # these may evict a half that they split off, and compute it anew in other slots; and an insert
    # gives the KV of a tombstone new slots along with the component's
    recomputes = isinstance(step.operation, (ops.BeginRequest, ops.ExtendRequest))
    for path, old in step.old_family.nodes.items():
        node = step.family.nodes.get(path)
        if node is None or node.length >= old.length or node.creation != old.creation:
            continue  # not split, or another node in its place
        pieces = _pieces(step.family, node, old.length)
        moved = recomputes or (old.component is not None and old.component.device is None)
        for tier in ("host",) if moved else ("device", "host"):
            before = getattr(old, tier)
            now = [getattr(piece, tier) for piece in pieces]
            if before is None or None in now:
                continue
            joined = tuple(slot for slots in now for slot in slots)
            if joined != before:
                yield Violation(
                    f"node {path} was split, and its {tier} slots {list(before)} became "
                    f"{list(joined)}",
                    tuple(piece.path for piece in pieces),
                )
        for piece in pieces:
            hits = piece.hit_count if step.split_hits == "both_halves" else node.hit_count
            if piece.priority < old.priority or hits < old.hit_count:
                yield Violation(
                    f"node {path} was split, and its piece {piece.path} lost priority or hits",
                    (piece.path, path),
                )

    for transfer in step.after.transfers:
        yield from _unpublished(step.family, transfer)


def _unpublished(family: Family, transfer: Transfer) -> Iterator[Violation]:
    """Host slots of a write that are in none of the nodes that its acknowledgement publishes."""
    if transfer.kind != "write" or transfer.published is None:
        return
    published = [family.nodes[path] for path in transfer.published if path in family.nodes]
    lost = set(transfer.host) - {slot for node in published for slot in node.host or ()}
    if lost:
        yield Violation(
            f"the write in flight to host slots {list(transfer.host)} will publish "
            f"{', '.join(str(node.path) for node in published) or 'nothing'}, without slots "
            f"{sorted(lost)}",
            tuple(node.path for node in published),
        )


def _pieces(family: Family, node: Node, length: int) -> list[Node]:
    """The nodes that cover the last ``length`` tokens of ``node``'s path, from the top."""
    pieces, covered, piece = [node], node.length, family.parent_of(node)
    while covered < length and piece is not None:
        pieces.insert(0, piece)
        covered += piece.length
        piece = family.parent_of(piece)
    return pieces
