"""The words of reports: tokens, nodes, outcomes and configurations, each as a short text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from hicache_model import outcomes
from hicache_model.configuration import Configuration
from hicache_model.keys import tokens_of
from hicache_model.operations import Operation, describe
from hicache_model.outcomes import Outcome
from hicache_model.snapshot import Node, Path, Snapshot


def printable(text: str) -> str:
    """``text`` without anything that a terminal would obey; traces come from strangers."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def shorten(text: str, width: int) -> str:
    """At most ``width`` characters, cut in the middle."""
    if len(text) <= width:
        return text
    kept = max(width - 1, 2)
    return f"{text[: (kept + 1) // 2]}…{text[len(text) - kept // 2 :]}"


def tokens_text(tokens: Sequence[int], width: int = 60) -> str:
    """``[1, 2, 3]``; long lists lose their middle: ``[1, 2, … 96 more …, 99, 100]``.

    Pairs are shown as the tokens that make them.
    """
    tokens = tokens_of(tuple(tokens))
    text = f"[{', '.join(map(str, tokens))}]"
    kept = len(tokens) // 2
    while len(text) > width and kept > 1:
        kept = max(1, kept // 2)
        head = ", ".join(map(str, tokens[:kept]))
        tail = ", ".join(map(str, tokens[-kept:]))
        text = f"[{head}, … {len(tokens) - 2 * kept} more …, {tail}]"
    return text


def path_text(path: Path | None, width: int = 60) -> str:
    if path is None:
        return "the root"
    text = tokens_text(path.tokens, width)
    return text if path.namespace is None else f"{printable(path.namespace)}:{text}"


def operation_text(op: Operation, width: int = 60) -> str:
    """``insert [1, 2]``, in one printable line; a long list of tokens loses its middle."""
    text = describe(op)
    if len(text) > width and hasattr(op, "tokens"):
        whole = str(list(op.tokens))
        text = text.replace(whole, tokens_text(op.tokens, width - len(text) + len(whole)), 1)
    return shorten(printable(text), width)


_OUTCOMES = {
    outcomes.Matched: "{o.device_length} on the GPU, {o.host_length} more on the host",
    outcomes.Inserted: "{o.prefix_length} were on the GPU already",
    outcomes.Evicted: "{o.tokens} freed",
    outcomes.LoadedBack: "{o.tokens} queued for loading",
    outcomes.Admitted: "{o.device_length} from the GPU, {o.loaded_length} loaded from the host",
    outcomes.Retracted: "saved on the host: {o.saved}",
    outcomes.OutOfMemory: "out of memory: {o.needed} needed",
    outcomes.Done: "done",
}


def numbered(operations: Iterable[Operation]) -> Iterator[str]:
    """The items of a list in a page, one for each operation."""
    for number, operation in enumerate(operations, 1):
        yield f"{number}. {describe(operation)}"


def outcome_text(outcome: Outcome | None) -> str:
    """What the cache answered; None is for a target that raised."""
    if outcome is None:
        return "raised"
    if isinstance(outcome, outcomes.LoadsStarted):
        return "a transfer started" if outcome.started else "nothing to start"
    if outcome == outcomes.Inserted(0):
        return "all new to the GPU"
    return _OUTCOMES[type(outcome)].format(o=outcome)


_PLACES = {
    (True, False): ("G ", "on GPU"),
    (True, True): ("GH", "on GPU, backed up"),
    (False, True): (" H", "evicted, on host"),
    (False, False): ("  ", "nowhere"),
}


def tiers(node: Node) -> str:
    """``G``, ``H``, or both, in two columns."""
    return _PLACES[not node.evicted, node.backed_up][0]


def place(node: Node) -> str:
    """Where a node's KV lies, in words."""
    return _PLACES[not node.evicted, node.backed_up][1]


def marks(node: Node, moving: Sequence[str] = ()) -> list[str]:
    """Locks, transfers in flight, and the kept sets that hold the node."""
    found = []
    if node.lock_ref:
        found.append(f"locked {node.lock_ref}x" if node.lock_ref > 1 else "locked")
    if node.host_lock:
        found.append(f"host-locked {node.host_lock}x" if node.host_lock > 1 else "host-locked")
    found += moving
    if node.in_device_leaves:
        found.append("device leaf")
    if node.in_host_leaves:
        found.append("host leaf")
    return found


def node_text(node: Node | None) -> str:
    """One node in one phrase: ``evicted, on host · host leaf``."""
    return "not in the tree" if node is None else " · ".join([place(node), *marks(node)])


_QUIET = ("length", "hit_count", "priority")


def node_texts(expected: Node | None, actual: Node | None) -> tuple[str, str]:
    """Both in words; what the phrases do not show is named where it differs."""
    texts = [node_text(expected), node_text(actual)]
    if expected is not None and actual is not None and texts[0] == texts[1]:
        for name in _QUIET:
            values = getattr(expected, name), getattr(actual, name)
            if values[0] != values[1]:
                word = name.replace("_", " ")
                texts = [f"{t} · {word} {v}" for t, v in zip(texts, values, strict=True)]
    return texts[0], texts[1]


def moving(snapshot: Snapshot) -> dict[Path | None, list[str]]:
    """The transfers in flight by the node that waits for them; None for one that left the tree."""
    found: dict[Path | None, list[str]] = {}
    for transfer in snapshot.transfers:
        if transfer.kind == "write":
            word = "write in flight"
        else:
            word = "load in flight" if transfer.started else "load queued"
        for anchor in transfer.anchors:
            found.setdefault(anchor, []).append(word)
    return found


def room(configuration: Configuration, snapshot: Snapshot) -> str:
    """Free slots of both tiers, and what the cache says about its own sizes."""
    device = len(snapshot.device_free) * configuration.page_size
    return (
        f"free: GPU {device} of {configuration.device_slots},"
        f" host {len(snapshot.host_free)} of {configuration.host_slots}"
        f" · evictable {snapshot.evictable_size}, protected {snapshot.protected_size}"
    )


def configuration_text(configuration: Configuration) -> str:
    """The configuration in one line; what has its default value and shapes no tree is left out."""
    words = [
        configuration.write_policy,
        configuration.eviction_policy,
        f"page size {configuration.page_size}",
        f"GPU {configuration.device_slots} slots",
        f"host {configuration.host_slots} slots",
    ]
    if configuration.bigram:
        words.append("keys of pairs")
    if configuration.load_back_threshold != 1:
        words.append(f"load-back threshold {configuration.load_back_threshold}")
    default = Configuration()
    words += [
        f"{name.replace('_', ' ')} {getattr(configuration, name)}"
        for name in ("layers", "io_backend", "copies")
        if getattr(configuration, name) != getattr(default, name)
    ]
    if configuration.strip_thinking:
        words.append("thoughts stripped")
    return ", ".join(words)
