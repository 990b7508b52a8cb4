"""What a planted bug is: an edit of a release's own source, written as a diff, and how it shows.

An edit is applied in memory, where the old lines occur exactly once (hicache_impl.sglang.loader).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from hicache_model.configuration import Configuration
from hicache_model.operations import Operation
from hicache_verify.campaigns.cells import Cell

RELEASE = "0.5.18"

CACHE = "sglang.srt.mem_cache.hiradix_cache"
RADIX = "sglang.srt.mem_cache.radix_cache"
POLICY = "sglang.srt.mem_cache.evict_policy"
CONTROLLER = "sglang.srt.managers.cache_controller"
HOST_POOL = "sglang.srt.mem_cache.pool_host.base"
TRANSFER = "sglang.srt.mem_cache.l2_transfer"
TOKENS = "sglang.srt.mem_cache.allocator.token"
PAGED = "sglang.srt.mem_cache.allocator.paged"

BACK = Cell("write_back", 1, "lru")
BACK_PAGED = Cell("write_back", 4, "lru")
THROUGH = Cell("write_through", 1, "lru")
SELECTIVE = Cell("write_through_selective", 1, "lru")


@attrs.frozen
class Edit:
    """In ``module``, the lines of ``diff`` marked ``-`` go, those marked ``+`` come.

    Other lines stand in both; a line that begins with ``@@`` tells a reader where.
    """

    module: str
    diff: str

    @property
    def patch(self) -> tuple[str, str, str]:
        """Module, old text, new text."""
        lines = [line for line in self.diff.strip("\n").split("\n") if line[:2] != "@@"]
        old = [line[1:] for line in lines if line[:1] != "+"]
        new = [line[1:] for line in lines if line[:1] != "-"]
        return self.module, _whole_lines(old), _whole_lines(new)


def _whole_lines(lines: list[str]) -> str:
    return "\n" + "".join(f"{line}\n" for line in lines)


@attrs.frozen
class Witness:
    """A few operations, after the last of which ``law`` is broken; checked without any search."""

    law: str
    operations: tuple[Operation, ...]
    sizes: Mapping[str, Any] = attrs.field(factory=dict)

    def configuration(self, cell: Cell) -> Configuration:
        return Configuration(
            write_policy=cell.write_policy,
            eviction_policy=cell.eviction_policy,
            page_size=cell.page_size,
            bigram=cell.bigram,
            **self.sizes,
        )


@attrs.frozen
class Planted:
    """One bug. ``found_under`` are the laws that may be the first to speak in a random run."""

    name: str
    cell: Cell
    found_under: tuple[str, ...]
    edits: tuple[Edit, ...]
    witness: Witness | None = None
    release: str = RELEASE
