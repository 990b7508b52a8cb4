"""Where the tokens of a running request go: what the schedulers of both caches allocate alike."""

from __future__ import annotations

from typing import Any

import torch


class RequestSlots:
    """Slots for the next tokens of a request, as the release's own allocator gives them.

    A request tells how many tokens are ``computed``, and ``home`` holds its row.
    """

    calls: Any

    def _extend_slots(self, request: Any, count: int) -> Any:
        allocator = self.calls.allocator
        if self.calls.page_size == 1:
            return allocator.alloc(count)
        before = torch.tensor([request.computed])
        after = before + count
        return allocator.alloc_extend(before, before, after, after, self._last_slot(request), count)

    def _decode_slots(self, request: Any) -> Any:
        allocator = self.calls.allocator
        if self.calls.page_size == 1:
            return allocator.alloc(1)
        after = torch.tensor([request.computed + 1])
        return allocator.alloc_decode(after, after, self._last_slot(request))

    def _last_slot(self, request: Any) -> Any:
        if request.computed == 0:
            return torch.tensor([-1])
        row = self.calls.rows.req_to_token[request.home.req_pool_idx]
        return row[request.computed - 1 : request.computed].to(torch.int64)
