"""What the reference notes beside the tree: running requests, pins, and what a lookup found."""

from __future__ import annotations

import attrs

from hicache_model.tree import TreeNode


class NoRoom(Exception):
    """An allocation of ``needed`` tokens failed after eviction."""

    def __init__(self, needed: int) -> None:
        super().__init__(needed)
        self.needed = needed


@attrs.define(slots=True)
class Running:
    """A request's facts: the first ``protected`` of its ``computed`` tokens belong to the tree.

    Of the ``prompt_length`` tokens that it was admitted with, the last ``outputs`` are its own.
    """

    tokens: tuple[int, ...]
    prompt_length: int
    namespace: str | None
    priority: int
    computed: int = 0
    protected: int = 0
    inserted: int = 0  # nodes up to here have counted this request's hit
    anchor: TreeNode | None = None
    freed: int = 0  # a component's KV before this position was given back
    branch: int | None = None  # where its next insert has to end, for a component's sake
    tracked: int | None = None  # tokens of the state that its next insert gives to the tree
    number: int = 0
    outputs: int = 0

    @property
    def asked_length(self) -> int:
        """Tokens of the prompt that its client sent."""
        return self.prompt_length - self.outputs

    @property
    def prefilling(self) -> bool:
        return self.computed < self.prompt_length


@attrs.define(slots=True, eq=False)
class Pin:
    """A hold on the host copy of ``node``; ``start`` is where its tokens began at that time."""

    node: TreeNode
    start: int


@attrs.define(slots=True)
class Found:
    """What a lookup found: the last node that can be used, and the last one on the device.

    ``host`` are the tokens between them that the host has, ``visited`` is how far the path goes in
    the tree.
    """

    node: TreeNode
    on_device: TreeNode
    host: int
    component_host: int
    visited: int

    @property
    def usable(self) -> int:
        """How far it can be used with what the host has."""
        return self.device + self.host

    @property
    def device(self) -> int:
        return len(self.on_device.path.tokens)

    @property
    def beyond(self) -> int:
        """Tokens that can be used once they are loaded."""
        return len(self.node.path.tokens) - self.device
