"""The Python stack of a process that does not answer, as its faulthandler writes it."""

from __future__ import annotations

import re

import attrs

MAX_FRAMES = 100

_FRAME = re.compile(r'^  File "(?P<file>.+)", line (?P<line>\d+) in (?P<function>.+)$')
_HEAD = re.compile(r"^(Current thread|Stack) .*most recent call first")


@attrs.frozen
class Frame:
    file: str
    line: int
    function: str

    @property
    def name(self) -> tuple[str, str]:
        return (self.file, self.function)


def dumps(text: str) -> list[tuple[Frame, ...]]:
    """Every stack of the main thread in ``text``, outermost frame first."""
    stacks: list[list[Frame]] = []
    inside = False
    for line in text.splitlines():
        frame = _FRAME.match(line) if inside else None
        if _HEAD.match(line):
            stacks.append([])
            inside = True
        elif frame is None:
            inside = False
        elif len(stacks[-1]) < MAX_FRAMES:
            stacks[-1].append(Frame(frame["file"], int(frame["line"]), frame["function"]))
    return [tuple(reversed(stack)) for stack in stacks]


def common(stacks: list[tuple[Frame, ...]]) -> tuple[Frame, ...]:
    """The frames that all stacks share: the innermost of them is the function that loops."""
    if not stacks:
        return ()
    shared = 0
    for level in zip(*stacks, strict=False):
        if len({frame.name for frame in level}) != 1:
            break
        shared += 1
    return stacks[-1][:shared]
