"""What the placeholders contain, as data: module name to the names that the cache really uses.

Everything else in a placeholder is a stand-in (standin.py). A module named here that a release
does not ship is simply never asked for, so this table needs no release ranges.
"""

from __future__ import annotations

import enum
import hashlib
import os
from array import array
from collections.abc import Callable
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import attrs
import torch

from hicache_impl.sglang.clock import CountingClock
from hicache_impl.sglang.copies import kernels
from hicache_impl.sglang.device import Device
from hicache_impl.sglang.standin import used

#: Absent on a machine without a GPU, or to be kept out although present.
THIRD_PARTY = ("triton", "sgl_kernel")


_RUNTIME_CONTEXT = (
    "get_memory",
    "get_serving",
    "get_observability",
    "get_parallel",
    "get_model",
    "get_disagg",
    "get_exec",
    "get_schedule",
    "get_spec",
    "get_server_args",
)


class Settings:
    """Every setting that a release may read, wherever it reads it from; build.py fills it in.

    Up to 0.5.18 the cache reads ``server_args``, later ``runtime_context``: both are this object.
    """

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        used(f"setting {name}", "read")


@attrs.define(frozen=True)
class Surroundings:
    """What the contents refer to: one of each per process."""

    device: Device = attrs.field(factory=Device)
    clock: CountingClock = attrs.field(factory=CountingClock)
    settings: Settings = attrs.field(factory=Settings)


class _Kernel:
    """A Triton kernel: it can be defined, not launched."""

    def __init__(self, function: Any) -> None:
        self.name = getattr(function, "__qualname__", str(function))

    def __getitem__(self, grid: Any) -> Any:
        used(f"Triton kernel {self.name}", "launched")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        used(f"Triton kernel {self.name}", "called")


def _decorator(wrap: Callable[[Any], Any]) -> Callable[..., Any]:
    """``@name`` and ``@name(...)``."""

    def decorate(*args: Any, **options: Any) -> Any:
        if len(args) == 1 and callable(args[0]) and not options:
            return wrap(args[0])
        return wrap

    return decorate


def _unchanged(function: Any) -> Any:
    return function


def _answer(value: Any) -> Callable[..., Any]:
    return lambda *args, **kwargs: value


def _environment_flag(name: str, default: str = "false") -> bool:
    return os.environ.get(name, default).lower() in ("true", "1")


def _next_power_of_2(number: int) -> int:
    return 1 << (number - 1).bit_length() if number > 0 else 1


def _new_pages(
    seq_lens: Any, page_size: int, prefix_lens: Any = None, decode: bool = False, **_: Any
) -> int:
    """Pages that these sequences need beyond the ones that they have."""
    before = seq_lens - 1 if decode else prefix_lens
    pages = (seq_lens + page_size - 1) // page_size - (before + page_size - 1) // page_size
    return int(pages.sum())


def _page_hash(tokens: Any, prior: bytes | None = None, page_size: int = 1) -> list[str]:
    """Chained digests of pages, in the place of ``get_native_hash`` (from 0.5.15)."""
    digests = []
    for start in range(0, len(tokens) - page_size + 1, page_size):
        digest = hashlib.sha256(prior or b"")
        for token in tokens[start : start + page_size]:
            for part in token if isinstance(token, tuple) else (token,):
                digest.update(int(part).to_bytes(4, "little"))
        prior = digest.digest()
        digests.append(prior.hex())
    return digests


def _check_int64(tokens: Any, what: str) -> None:
    """The Rust tree core reads token ids as raw 64-bit integers."""
    if not isinstance(tokens, array) or tokens.typecode != "q":
        raise TypeError(f"{what} must be an int64 array, not {type(tokens).__name__}")


class _NothingToSave:
    """The memory saver adapter: nothing is paged out here."""

    enabled = False

    @classmethod
    def create(cls, *args: Any, **kwargs: Any) -> _NothingToSave:
        return cls()

    def region(self, *args: Any, **kwargs: Any) -> Any:
        return nullcontext()


class _Event:
    """A KV event as a plain record."""

    def __init__(self, *args: Any, **fields: Any) -> None:
        self.args = args
        self.__dict__.update(fields)


class _StorageMedium(str, enum.Enum):
    GPU = "GPU"
    CPU = "CPU"
    CPU_PINNED = "CPU_PINNED"
    CPU_TIER1 = "CPU"
    CPU_TIER2 = "CPU_TIER2"
    DISK = "DISK"
    EXTERNAL = "EXTERNAL"


def contents(around: Surroundings) -> dict[str, dict[str, Any]]:
    """Module name to content."""
    rank_zero = {
        name: _answer(0)
        for name in (
            "get_tensor_model_parallel_rank",
            "get_attention_dp_rank",
            "get_attention_tp_rank",
            "get_attention_cp_rank",
            "get_pp_rank",
        )
    }
    one_rank = {
        name: _answer(1)
        for name in (
            "get_tensor_model_parallel_world_size",
            "get_attention_tp_size",
            "get_attention_cp_size",
            "get_attention_dp_size",
            "get_dcp_size",
        )
    }
    ranks = rank_zero | one_rank | {"is_dp_attention_enabled": _answer(False)}
    events = {
        name: type(name, (_Event,), {})
        for name in ("BlockStored", "BlockRemoved", "AllBlocksCleared", "KVCacheEvent")
    }
    helpers = {
        "get_device_module": _answer(around.device),
        "get_bool_env_var": _environment_flag,
        "next_power_of_2": _next_power_of_2,
        "get_num_new_pages": _new_pages,
        "ceil_align": lambda number, unit: -(-number // unit) * unit,
        "is_pin_memory_available": _answer(False),
        "cpu_has_amx_support": _answer(False),
        "assert_int64_array": _check_int64,
        "async_h2d": lambda numbers, dtype, device: torch.tensor(numbers, dtype=dtype),
    }
    jit = {
        "jit": _decorator(_Kernel),
        "autotune": _decorator(_unchanged),
        "heuristics": _decorator(_unchanged),
        "next_power_of_2": _next_power_of_2,
        "cdiv": lambda a, b: -(-a // b),
    }
    settings = _answer(around.settings)
    return {
        "triton": jit,
        "triton.language": {
            "core": SimpleNamespace(TRITON_MAX_TENSOR_NUMEL=1 << 20)
        },  # 0.5.9: allocator.py
        "sgl_kernel.kvcacheio": dict(kernels(around.device)),
        "sglang.srt.utils": helpers,
        "sglang.srt.utils.common": helpers,
        "sglang.srt.utils.custom_op": {"register_custom_op": _decorator(_unchanged)},
        "sglang.srt.utils.torch_memory_saver_adapter": {"TorchMemorySaverAdapter": _NothingToSave},
        "sglang.srt.torch_memory_saver_adapter": {"TorchMemorySaverAdapter": _NothingToSave},
        "sglang.srt.distributed": ranks,
        "sglang.srt.distributed.parallel_state": ranks,
        "sglang.srt.layers.dp_attention": ranks,
        "sglang.srt.disaggregation.kv_events": {"StorageMedium": _StorageMedium, **events},
        "sglang.srt.platforms": {
            "current_platform": SimpleNamespace(
                is_cuda_alike=_answer(False),
                is_cuda=_answer(False),
                is_npu=_answer(False),
                is_out_of_tree=_answer(False),
                get_paged_allocator_cls=_answer(None),
                capabilities=SimpleNamespace(supports_triton=False),
            )
        },
        "sglang.srt.layers.attention.dsa.utils": {
            "aiter_can_use_preshuffle_paged_mqa": _answer(False)
        },
        "sglang.srt.runtime_context": dict.fromkeys(_RUNTIME_CONTEXT, settings)
        | {
            "mamba_cache_chunk_size": lambda: around.settings.mamba.grid,
            "mamba_checkpoint_grid": lambda page: around.settings.mamba.grid,
        },
        "sglang.srt.server_args": {"get_global_server_args": settings},
        "sglang.srt.mem_cache.cpp_utils.native_hash": {"get_native_hash": _page_hash},
        "sglang.srt.model_executor.cuda_graph_runner": {"get_is_capture_mode": _answer(False)},
    }
