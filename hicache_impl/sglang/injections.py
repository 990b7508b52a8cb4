"""Names of the release's real modules that are replaced after import, as data.

Each step looks at one module and says which of its names become what.
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
from hicache_impl.sglang.standin import PlaceholderModule

_CACHE = "sglang.srt.mem_cache."
_HOST_POOLS = (
    _CACHE + "memory_pool_host",
    _CACHE + "pool_host.base",
    _CACHE + "pool_host.mha",
    _CACHE + "pool_host.mamba",
)


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

    def _launch_extend(
        self,
        prefix_lens: Any,
        seq_lens: Any,
        last_loc: Any,
        free_pages: Any,
        out: Any,
        _upper: int,
        page_size: int,
        *_: Any,
    ) -> None:
        needed = int(((seq_lens + page_size - 1) // page_size).sum())
        spare = free_pages.new_zeros(max(0, needed - len(free_pages)))
        pages = torch.cat([free_pages, spare])
        self._naive(prefix_lens, seq_lens, last_loc, pages, out, page_size, out.device)

    def _launch_decode(
        self,
        seq_lens: Any,
        last_loc: Any,
        free_pages: Any,
        out: Any,
        upper: int,
        page_size: int,
        *_: Any,
    ) -> None:
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


def _clock(module: ModuleType, around: Surroundings) -> dict[str, Any]:
    return {"time": around.clock} if module.__dict__.get("time") is time else {}


def _copies(module: ModuleType, around: Surroundings) -> dict[str, Any]:
    """From 0.5.13 the names exist only under CUDA."""
    return dict(kernels(around.device)) if module.__name__ in _HOST_POOLS else {}


def _plenty_of_memory(module: ModuleType, around: Surroundings) -> dict[str, Any]:
    """A host pool wants ten free gigabytes; here it has a few slots."""
    if module.__name__ not in _HOST_POOLS or "psutil" not in module.__dict__:
        return {}
    plenty = SimpleNamespace(total=1 << 50, available=1 << 50)
    return {"psutil": SimpleNamespace(virtual_memory=lambda: plenty)}


def _unregistered_memory(module: ModuleType, around: Surroundings) -> dict[str, Any]:
    functions = module.__dict__.get("ALLOC_MEMORY_FUNCS")
    if functions is None:
        return {}
    functions["cpu"] = _plain_memory
    return {"ALLOC_MEMORY_FUNCS": functions}


def _paged_kernels(module: ModuleType, around: Surroundings) -> dict[str, Any]:
    naive = module.__dict__.get("alloc_extend_naive")
    if naive is None or "alloc_extend_kernel" not in module.__dict__:
        return {}
    return {
        "alloc_extend_kernel": _PagedKernel(naive, decode=False),
        "alloc_decode_kernel": _PagedKernel(naive, decode=True),
    }


#: Module and surroundings to the names that are replaced in it.
STEPS = (_clock, _copies, _plenty_of_memory, _unregistered_memory, _paged_kernels)


def inject(around: Surroundings) -> tuple[str, ...]:
    """Replace; say what was replaced, as ``module.name``."""
    done: list[str] = []
    for name in sorted(sys.modules):
        module = sys.modules[name]
        if not name.startswith("sglang.") or isinstance(module, PlaceholderModule):
            continue
        for step in STEPS:
            replaced = step(module, around)
            module.__dict__.update(replaced)
            done += [f"{name}.{key}" for key in replaced]
    _one_rank()
    return tuple(done)
