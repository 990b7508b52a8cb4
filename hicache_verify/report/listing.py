"""The listing of a trace: what each operation did, and the tree after it, for people."""

from __future__ import annotations

import textwrap
from collections.abc import Collection, Sequence

from hicache_impl.target import AnyFactory
from hicache_model.snapshot import Path, Snapshot
from hicache_verify.divergence import Divergence, NodePair
from hicache_verify.replay import Step, replay
from hicache_verify.report import words
from hicache_verify.report.drawing import draw, plain
from hicache_verify.trace import Trace

WIDTH = 100
MARGIN = "     "
BROKEN = "  ✗  "
KINDS = {
    "law": "the law is broken",
    "outcome": "another answer was due",
    "state": "another state was due",
    "data": "the contents are wrong",
    "crash": "the cache raised",
    "hang": "the cache did not return",
    "death": "the process ended",
}


def listing(
    trace: Trace,
    steps: Sequence[Step],
    divergence: Divergence | None = None,
    *,
    illegal: tuple[int, str] | None = None,
    width: int = WIDTH,
    ascii_only: bool = False,
) -> str:
    """``steps`` of ``trace`` as text; the last one shows where cache and model part, if they do.

    ``illegal`` is the index and the reason of an operation at which the replay stopped.
    """
    blocks = [header(trace, len(steps), divergence, width)]
    concerned = {pair.path for pair in divergence.nodes} if divergence else set()
    for number, step in enumerate(steps, start=1):
        last = number == len(steps)
        blocks.append(step_block(trace, number, step, concerned if last else (), width))
    if divergence is not None:
        blocks.append(divergence_block(divergence, width))
    if illegal is not None:
        blocks.append(illegal_block(trace, illegal, width))
    text = "\n\n".join("\n".join(line.rstrip() for line in block) for block in blocks) + "\n"
    return plain(text) if ascii_only else text


def play(factory: AnyFactory, trace: Trace, *, width: int = WIDTH) -> str:
    """The listing of ``trace`` on a target of this process."""
    steps: list[Step] = []
    played = replay(factory, trace, watch=lambda step, _: steps.append(step))
    shown = trace.with_(target=factory.description.target, release=factory.description.release)
    return listing(shown, steps, played.divergence, illegal=played.illegal, width=width)


def header(trace: Trace, count: int, divergence: Divergence | None, width: int) -> list[str]:
    if divergence is None:
        verdict = "cache and model agree after each"
    else:
        verdict = f"{words.printable(divergence.law)} breaks at the last"
    operations = "1 operation" if count == 1 else f"{count} operations"
    return [
        words.printable(f"{trace.target} {trace.release} · {operations}, {verdict}"),
        *_wrapped(words.configuration_text(trace.configuration), width, ""),
    ]


def step_block(
    trace: Trace, number: int, step: Step, concerned: Collection[Path] = (), width: int = WIDTH
) -> list[str]:
    """One operation, its answer, and the tree after it; ``concerned`` nodes are marked."""
    answer = words.outcome_text(step.outcome)
    op = words.operation_text(step.operation, width - len(MARGIN) - 5 - len(answer))
    lines = [f"{number:>3}  {op}  →  {answer}"]
    if step.snapshot is None:
        return [*lines, MARGIN + "(the cache could no longer be looked at)"]
    inside = width - len(MARGIN)
    for path, line in draw(step.snapshot, inside):
        lines.append((BROKEN if path in concerned else MARGIN) + line)
    lines += [MARGIN + line for line in besides(step.snapshot, inside)]
    return [*lines, MARGIN + words.room(trace.configuration, step.snapshot)]


def illegal_block(trace: Trace, illegal: tuple[int, str], width: int = WIDTH) -> list[str]:
    """Why the replay stopped before the end."""
    index, reason = illegal
    op = words.operation_text(trace.operations[index], width)
    return [
        f"stopped before operation {index + 1} (line {index + 2} of the trace): {op}",
        *_wrapped(f"it is not legal there: {words.printable(reason)}", width, "  "),
    ]


def besides(snapshot: Snapshot, width: int) -> list[str]:
    """What is no node: running requests, transfers without a node, strangers in the sets."""
    lines = []
    for number, request in sorted(snapshot.requests.items()):
        lines.append(
            f"request {number}: {words.tokens_text(request.tokens, 40)},"
            f" {request.computed} computed, {request.protected} of them the tree's,"
            f" holds {words.path_text(request.anchor, 30)}"
        )
    for number, saved in sorted(snapshot.retracted.items()):
        lines.append(f"request {number}: {words.tokens_text(saved.tokens, 40)}, waits on the host")
    lines += [
        f"{word} for a node that left the tree" for word in words.moving(snapshot).get(None, ())
    ]
    lines += [f"kept but not in the tree: {words.printable(name)}" for name in snapshot.strays]
    return [words.shorten(line, width) for line in lines]


def divergence_block(divergence: Divergence, width: int = WIDTH) -> list[str]:
    """What broke, in which way, and the nodes concerned side by side."""
    head = f"✗ {divergence.law}: {KINDS[divergence.kind]}"
    if divergence.resembles:
        head += f"; it resembles {divergence.resembles}"
    lines = [words.printable(head)]
    lines += _wrapped(words.printable(divergence.message), width, "  ")
    if divergence.who:
        lines += _wrapped(divergence.who, width, "  ")
    if divergence.exception:
        place = f" at {divergence.place}" if divergence.place else ""
        lines += _wrapped(words.printable(divergence.exception + place), width, "  ")
    if divergence.nodes:
        lines += _side_by_side(divergence.nodes, width)
    return lines


def _side_by_side(pairs: Sequence[NodePair], width: int) -> list[str]:
    """A table; its columns are as wide as they need, the last one takes the rest."""
    rows = [("node", "should be", "is")]
    for pair in pairs:
        expected, actual = words.node_texts(pair.expected, pair.actual)
        rows.append((words.path_text(pair.path, width // 3), expected, actual))
    widths = [max(len(row[column]) for row in rows) for column in range(2)]
    return [f"  {a:<{widths[0]}}  {b:<{widths[1]}}  {c}" for a, b, c in rows]


def _wrapped(text: str, width: int, indent: str) -> list[str]:
    return textwrap.wrap(text, width, initial_indent=indent, subsequent_indent=indent)
