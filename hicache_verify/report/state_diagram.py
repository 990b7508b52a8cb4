"""The picture of a node's tiers as SVG: four boxes and the operations that move a node."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import TypeAlias
from xml.sax.saxutils import escape

from hicache_model.states import TIERS

NOT_CACHED = "not cached"
Transitions: TypeAlias = Mapping[tuple[str, str], set[str]]

WIDTH, HEIGHT = 1000, 580
BOX = (190, 56)
GAP, LINE = 12, 16
PLACES = {
    NOT_CACHED: (120, 290),
    TIERS[0]: (500, 50),
    TIERS[1]: (880, 290),
    TIERS[2]: (500, 530),
}
ALONG = {(NOT_CACHED, TIERS[1]): 0.72, (TIERS[1], NOT_CACHED): 0.28, (TIERS[0], TIERS[2]): 0.25}
"""Where a label stands along an arrow that another one crosses; others in the middle."""

STYLE = (
    "text{font:13px sans-serif;fill:#222}.box{fill:#f4f6fa;stroke:#345;stroke-width:1.5}"
    ".name{font-weight:600;text-anchor:middle}line{stroke:#678;stroke-width:1.5;"
    "marker-end:url(#to)}"
)


ARROW_HEAD = (
    '<marker id="to" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" '
    'orient="auto"><path d="M0 0 8 4 0 8z" fill="#678"/></marker>'
)


def draw(transitions: Transitions) -> str:
    """An SVG of the moves between tiers; operations on requests are left to the table."""
    size = f'viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}"'
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">',
        "<title>Tiers of a node, and the operations that move it</title>",
        f"<style>{STYLE}</style>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
        f"<defs>{ARROW_HEAD}</defs>",
    ]
    for pair, names in sorted(tiers_of(transitions).items()):
        lines.extend(_arrow(pair, names))
    for name, (x, y) in PLACES.items():
        left, top = x - BOX[0] // 2, y - BOX[1] // 2
        corner = f'x="{left}" y="{top}" width="{BOX[0]}" height="{BOX[1]}"'
        lines.append(f'<rect class="box" {corner} rx="8"/>')
        lines.append(f'<text class="name" x="{x}" y="{y + 5}">{escape(name)}</text>')
    return "\n".join([*lines, "</svg>", ""])


def _arrow(pair: tuple[str, str], names: set[str]) -> Iterator[str]:
    """An arrow beside the line between two boxes, so that its way back has room, with its label."""
    (x1, y1), (x2, y2) = PLACES[pair[0]], PLACES[pair[1]]
    length = ((x2 - x1) ** 2 + (y2 - y1) ** 2) ** 0.5
    right = (-(y2 - y1) / length, (x2 - x1) / length)
    (a, b), (c, d) = [
        (x + right[0] * GAP, y + right[1] * GAP)
        for x, y in (_beside_box(x1, y1, x2, y2), _beside_box(x2, y2, x1, y1))
    ]
    yield f'<line x1="{a:.0f}" y1="{b:.0f}" x2="{c:.0f}" y2="{d:.0f}"/>'
    along = ALONG.get(pair, 0.5)
    x = a + (c - a) * along + right[0] * GAP
    y = b + (d - b) * along + right[1] * GAP
    anchor = "start" if right[0] > 0.1 else "end" if right[0] < -0.1 else "middle"
    lines = sorted(names)
    top = y + 5 if right[1] > 0 else y + 5 - LINE * (len(lines) - 1)
    for i, name in enumerate(lines):
        place = f'x="{x:.0f}" y="{top + LINE * i:.0f}"'
        yield f'<text {place} text-anchor="{anchor}">{escape(name)}</text>'


def _beside_box(x1: float, y1: float, x2: float, y2: float) -> tuple[float, float]:
    """Where the line from the middle of one box to another is just outside the first."""
    dx, dy = x2 - x1, y2 - y1
    scale = min(
        (BOX[0] / 2 + GAP) / abs(dx) if dx else float("inf"),
        (BOX[1] / 2 + GAP) / abs(dy) if dy else float("inf"),
    )
    return x1 + dx * scale, y1 + dy * scale


def tiers_of(transitions: Transitions) -> dict[tuple[str, str], set[str]]:
    """The same transitions between tiers alone, by operations on the cache itself."""
    found: dict[tuple[str, str], set[str]] = defaultdict(set)
    for (old, new), names in transitions.items():
        pair = _tier(old), _tier(new)
        moves = {name for name in names if not name.endswith("request")}
        if pair[0] != pair[1] and moves:
            found[pair] |= moves
    return found


def _tier(state: str) -> str:
    """The longest tier that begins the words of a state."""
    return max((tier for tier in TIERS if state.startswith(tier)), key=len, default=NOT_CACHED)
