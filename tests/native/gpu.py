"""Whether tests that need a GPU can run, and what they say where they cannot."""

from __future__ import annotations

import torch

NO_GPU = "no GPU: torch.cuda.is_available() is false"


def has_gpu() -> bool:
    return bool(torch.cuda.is_available())
