"""Mamba with an extra buffer: a request keeps states for the tree while it computes on.

Where pages have several tokens, or batches overlap, the state at the end of what a request has
computed is no state that the tree can name, or one that is overwritten already. A request has one
or two more slots, in which it keeps the state at the last position that the tree can name; that
state, and the KV up to it, is what its next insert gives. Of SGLang 0.5.23 (schedule_batch.py,
batch_result_processor.py, components/mamba.py), of the strategy ``extra_buffer``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hicache_model.components.mamba import Mamba

if TYPE_CHECKING:
    from hicache_model.notes import Found, Running
    from hicache_model.snapshot import Path


class TrackedMamba(Mamba):
    """As Mamba, of requests with ``state_buffers``.

    A chunk that follows another is cut by what a batch has left for it: a mixed batch has given one
    token to each request that decodes, and a full pool may leave any number (schedule_policy.py,
    ``add_chunked_req``). States are handed out counting from there, and where a page does not end
    with one, no node can have it.
    """

    chunks_end_anywhere = True

    def of_one_request(self) -> int:
        return 1 + self.reference.configuration.state_buffers

    def branch(self, found: Found) -> int | None:
        grid = self.reference.configuration.state_grid
        aligned = found.visited // grid * grid
        return aligned if aligned > found.usable else None

    def computes(self, running: Running, start: int) -> None:
        if running.computed > running.prompt_length:
            if running.computed % self.reference.configuration.track_grid == 0:
                running.tracked = running.computed
        else:
            self._computes_prompt(running, start)

    def _computes_prompt(self, running: Running, start: int) -> None:
        """The pass hands out a state for each step on the grid from where it began.

        The last of them is kept, or the one at which the tree has full KV and no state.
        """
        grid, branch = self.reference.configuration.state_grid, running.branch
        steps = (running.computed - start) // grid
        if not steps:
            return
        running.tracked = start + steps * grid
        if branch is not None and start < branch <= running.tracked and not (branch - start) % grid:
            running.tracked = branch

    def insert_length(self, running: Running) -> int:
        tracked = running.tracked or 0
        return 0 if tracked % self.reference.page_size else tracked

    def shorter_insert(self, most: int) -> int:
        """Nothing: the state that was kept has seen more, and the one before it went to the tree.

        SGLang 0.5.23: components/mamba.py, ``_select_finished_checkpoint``.
        """
        return 0

    def inserts_nothing(self, running: Running) -> None:
        running.tracked = None

    def inserted_by(self, running: Running, path: Path) -> None:
        """The slot that was given to the tree has been replaced: what is in it has no name yet."""
        running.tracked = None
