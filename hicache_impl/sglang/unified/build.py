"""Builds one small UnifiedRadixCache of full attention, with its host tier and one of its cores.

The release chooses its tree core by itself and may choose another one silently: what was built is
checked.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from hicache_impl.sglang import build as common
from hicache_impl.sglang.build import Parts, Sizes
from hicache_impl.sglang.errors import WrongCore
from hicache_impl.sglang.loader import Loaded
from hicache_impl.sglang.releases import Range
from hicache_impl.sglang.unified import states, window
from hicache_impl.sglang.unified.places import places
from hicache_model.policies import TLRU_ESTIMATE, TLRU_THRESHOLD, tlru

PYTHON_CORE, RUST_CORE = "python", "rust"

#: How a release is told which core to take: by the environment, later also for one cache alone.
CORE_VARIABLE = "SGLANG_UNIFIED_RADIX_TREE_CORE_BACKEND"
CORE_IS_A_PARAMETER = Range(since="0.5.21")

#: The bundled extension is loaded; nothing is ever compiled.
BUILD_VARIABLE = "SGLANG_RUST_BUILD_MODE"

#: The class of each core that can be driven. Up to 0.5.16 the cache has none beside itself.
CORES = {
    PYTHON_CORE: ("UnifiedTreeCore", "UnifiedRadixCache"),
    RUST_CORE: ("RustUnifiedTreeCore",),
}

#: The rooms of components beside full attention.
WITH: dict[str, Any] = {"swa": window, "mamba": states}


def build(loaded: Loaded, configuration: Sizes, core: str = PYTHON_CORE) -> Parts:
    """A fresh cache with ``core``. Raises RefusedSize, or WrongCore where another core came."""
    common.refuse_sizes(loaded.version, configuration)
    start_afresh(loaded, configuration)
    beside = WITH.get(configuration.component)
    server_args = common.apply_settings(loaded, configuration)
    pools = (beside or common).build_pools(loaded, configuration)
    kinds = loaded.module(places(loaded.version).components).ComponentType
    named: dict[str, Any] = beside.parameters(configuration, kinds) if beside else {}
    named.setdefault("tree_components", (kinds.FULL,))
    if loaded.version in CORE_IS_A_PARAMETER:
        named["tree_core_backend"] = core
    if configuration.eviction_policy == tlru.__name__:
        named["eviction_policy_config"] = _in_tokens(configuration.page_size)
    params = common.init_params(loaded, configuration, pools, **named)
    with _environment(CORE_VARIABLE, core), _environment(BUILD_VARIABLE, "never"):
        cache = loaded.module("mem_cache.unified_radix_cache").UnifiedRadixCache(params)
    cache.init_hicache(server_args, params)
    refuse_other_core(loaded.version, cache, core)
    host_pool = cache.host_pool_group.anchor_entry.host_pool
    parts = common.parts_of(loaded, cache, host_pool, pools, configuration)
    if beside:
        parts = beside.with_component(parts, kinds, configuration)
    common.finish(parts, configuration)
    return parts


def _in_tokens(page_size: int) -> dict[str, int]:
    """The parameters of tlru (evict_policy.py, ``TLRUStrategy``)."""
    return {
        "threshold": TLRU_THRESHOLD * page_size,
        "next_prompt_estimate": TLRU_ESTIMATE * page_size,
    }


@contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    """The variable has this value for a while."""
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def counters(loaded: Loaded) -> tuple[tuple[Any, str], ...]:
    """What a process counts for all its caches together: who has it, and under which name."""
    where, controller = places(loaded.version), loaded.module("managers.cache_controller")
    return (
        (loaded.around.clock, "ticks"),
        (controller.CacheOperation, "counter"),
        (loaded.module(where.nodes).UnifiedTreeNode, "counter"),
        (loaded.module(where.clock), "_LAST_ACCESS_TIME_COUNTER_FLOAT"),
    )


def start_afresh(loaded: Loaded, configuration: Sizes) -> None:
    """Node ids, clock ticks and lock receipts of the process begin again."""
    common.start_afresh(loaded, configuration)
    where = places(loaded.version)
    loaded.module(where.nodes).UnifiedTreeNode.counter = 0
    base: Any = loaded.module(where.clock)
    base._LAST_ACCESS_TIME_COUNTER_FLOAT = type(base._LAST_ACCESS_TIME_COUNTER_FLOAT)(1.0)


def refuse_other_core(version: str, cache: Any, core: str) -> None:
    """Raises WrongCore unless ``cache`` has the tree core that it was asked for."""
    found = type(places(version).tree(cache)).__name__
    if found not in CORES[core]:
        raise WrongCore(
            f"sglang {version} was asked for the {core} tree core and took {found}; "
            "nothing is run under the wrong name"
        )
