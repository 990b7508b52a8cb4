"""Names of the release's real modules that are replaced after import, as data.

A name is injected into each module in its row that this release has imported.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import torch

from hicache_impl.sglang.copies import kernels
from hicache_impl.sglang.placeholders import Surroundings

_CACHE = "sglang.srt.mem_cache."
_HOST_POOLS = (_CACHE + "memory_pool_host", _CACHE + "pool_host.base", _CACHE + "pool_host.mha")
_ALLOCATORS = (_CACHE + "allocator", _CACHE + "allocator.paged")


def _plain_memory(dims: Any, dtype: torch.dtype, device: str, **_: Any) -> torch.Tensor:
    """Host memory that no driver has to register."""
    return torch.zeros(dims, dtype=dtype, device=device)


class _PagedKernel:
    """A Triton kernel of the paged allocator, done by the release's own ``alloc_extend_naive``.

    Where pages are short the kernel reads past the free list and the caller throws its result away;
    zeros stand for what it would read.
    """

    def __init__(self, naive: Callable[..., None], decode: bool) -> None:
        self._naive = naive
        self._decode = decode

    def __getitem__(self, grid: Any) -> Callable[..., None]:
        return self._launch_decode if self._decode else self._launch_extend

    def _launch_extend(self, prefix_lens: Any, seq_lens: Any, last_loc: Any, free_pages: Any,
                       out: Any, _upper: int, page_size: int, *_: Any) -> None:
        needed = int(((seq_lens + page_size - 1) // page_size).sum())
        spare = free_pages.new_zeros(max(0, needed - len(free_pages)))
        pages = torch.cat([free_pages, spare])
        self._naive(prefix_lens, seq_lens, last_loc, pages, out, page_size, out.device)

    def _launch_decode(self, seq_lens: Any, last_loc: Any, free_pages: Any, out: Any,
                       upper: int, page_size: int, *_: Any) -> None:
        self._launch_extend(seq_lens - 1, seq_lens, last_loc, free_pages, out, upper, page_size)


def _one_rank() -> None:
    """``torch.distributed`` outside of any group: one process, rank 0."""
    for name, answer in (("get_world_size", 1), ("get_rank", 0)):
        real = getattr(torch.distributed, name)
        if getattr(real, "of_hicache_verify", False):
            continue

        def alone(group: Any = None, real: Any = real, answer: int = answer) -> int:
            return real(group) if torch.distributed.is_initialized() else answer

        alone.of_hicache_verify = True  # type: ignore[attr-defined]
        setattr(torch.distributed, name, alone)


def inject(around: Surroundings) -> tuple[str, ...]:
    """Replace; say what was replaced, as ``module.name``."""
    done: list[str] = []

    def put(module: ModuleType, name: str, value: Any) -> None:
        setattr(module, name, value)
        done.append(f"{module.__name__}.{name}")

    for module in _imported("sglang.srt."):
        if getattr(module, "__dict__", {}).get("time") is time:
            put(module, "time", around.clock)
    plenty = SimpleNamespace(total=1 << 50, available=1 << 50)
    for module in _loaded(_HOST_POOLS):
        if hasattr(module, "psutil"):
            put(module, "psutil", SimpleNamespace(virtual_memory=lambda: plenty))
        for name, copy in kernels(around.device).items():
            put(module, name, copy)
    for module in _loaded((_CACHE + "memory_pool_host", _CACHE + "pool_host.common")):
        if "ALLOC_MEMORY_FUNCS" in module.__dict__:
            module.ALLOC_MEMORY_FUNCS["cpu"] = _plain_memory
            done.append(f"{module.__name__}.ALLOC_MEMORY_FUNCS['cpu']")
    for module in _loaded(_ALLOCATORS):
        if "alloc_extend_kernel" in module.__dict__:
            naive = module.alloc_extend_naive
            put(module, "alloc_extend_kernel", _PagedKernel(naive, decode=False))
            put(module, "alloc_decode_kernel", _PagedKernel(naive, decode=True))
    _one_rank()
    return tuple(sorted(done))


def _imported(prefix: str) -> list[ModuleType]:
    return [sys.modules[name] for name in sorted(sys.modules) if name.startswith(prefix)]


def _loaded(names: tuple[str, ...]) -> list[ModuleType]:
    return [sys.modules[name] for name in names if name in sys.modules]
