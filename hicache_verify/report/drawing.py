"""Draws a snapshot's tree: one line a node, with its tiers, locks, transfers and sets."""

from __future__ import annotations

from collections.abc import Iterator

from hicache_model.snapshot import Node, Path, Snapshot
from hicache_verify.report import words

FORK, LAST, BAR, GAP = "├─ ", "└─ ", "│  ", "   "
_ASCII = str.maketrans(
    {"├": "|", "└": "`", "│": "|", "─": "-", "→": ">", "…": "~", "·": ",", "✗": "x"}
)
PLACE_WIDTH = 17
DEEPEST = 30


def plain(text: str) -> str:
    """``text`` in ASCII, for terminals and logs that have nothing else."""
    return text.translate(_ASCII)


def draw(snapshot: Snapshot, width: int = 100) -> list[tuple[Path | None, str]]:
    """The tree's lines, each with the node it is about; namespaces one below the other."""
    nodes = {path: node for path, node in snapshot.nodes.items() if node is not None}
    if not nodes:
        return [(None, "(the tree is empty)")]
    rows = list(_rows(nodes))
    moving = words.moving(snapshot)
    endings = [
        "" if node is None else " · ".join(words.marks(node, moving.get(node.path, ())))
        for _, node in rows
    ]
    fixed = 2 + 2 + 2 + PLACE_WIDTH + 2 + max(map(len, endings))
    stem = min(max(len(left) for left, node in rows if node), max(16, width - fixed))
    return [
        (node.path if node else None, _line(left, node, ending, stem))
        for (left, node), ending in zip(rows, endings, strict=True)
    ]


def _line(left: str, node: Node | None, ending: str, stem: int) -> str:
    if node is None:
        return left
    where = f"{words.tiers(node)}  {words.place(node):<{PLACE_WIDTH}}"
    return f"{words.shorten(left, stem):<{stem}}  {where}  {ending}".rstrip()


def _rows(nodes: dict[Path, Node]) -> Iterator[tuple[str, Node | None]]:
    """Branch and tokens of each node, parents first; a line without a node names a namespace."""
    children = _children(nodes)
    roots = sorted((path for path in children if not path.tokens), key=lambda p: p.namespace or "")
    for root in roots:
        if root.namespace is not None or len(roots) > 1:
            name = "(no namespace)" if root.namespace is None else words.printable(root.namespace)
            yield f"namespace {name}" if root.namespace is not None else name, None
        yield from _below(root, "", nodes, children)


def _below(
    root: Path, indent: str, nodes: dict[Path, Node], children: dict[Path, list[Path]]
) -> Iterator[tuple[str, Node | None]]:
    """Without recursion: a chain may be as long as a trace."""
    stack = [(path, indent, last) for path, last in _ends(children.get(root, []))]
    while stack:
        path, indent, last = stack.pop()
        node = nodes[path]
        own = path.tokens[len(path.tokens) - node.length :]
        shown = indent if len(indent) <= DEEPEST else "…" + indent[len(indent) - DEEPEST + 1 :]
        yield f"{shown}{LAST if last else FORK}{words.tokens_text(own, 48)}", node
        below = indent + (GAP if last else BAR)
        stack += [(child, below, end) for child, end in _ends(children.get(path, []))]


def _ends(paths: list[Path]) -> list[tuple[Path, bool]]:
    """In reverse, for a stack, each with whether it is the last among its siblings."""
    return [(path, i == 0) for i, path in enumerate(sorted(paths, reverse=True))]


def _children(nodes: dict[Path, Node]) -> dict[Path, list[Path]]:
    """By parent, or by the nearest ancestor that is there."""
    children: dict[Path, list[Path]] = {}
    for path, node in nodes.items():
        length = len(path.tokens) - node.length
        parent = Path(path.namespace, path.tokens[:length])
        while parent.tokens and parent not in nodes:
            parent = Path(path.namespace, parent.tokens[:-1])
        children.setdefault(parent, []).append(path)
    return children
