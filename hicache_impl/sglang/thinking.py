"""What a request owns that has thought, on servers with --strip-thinking-cache."""

from __future__ import annotations

from typing import Any


def owned_kv_len(req: Any) -> int:
    """Of one that thought its prompt alone, of others everything that is computed.

    Req asks whether it has thought (schedule_batch.py, owned_kv_len); one that has not has no more
    than its prompt here.
    """
    length = int(req.home.kv_committed_len)
    return min(length, len(req.origin_input_ids)) if req.strips_thinking else length
