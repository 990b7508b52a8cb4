"""The Rust tree core: whether it can be loaded, how it is called and what is seen of it.

Nodes are integer ids here (rust_names.py). Sizes, values and host copies are shown; lock counts,
pins, leaf sets and clocks are not.
"""

from __future__ import annotations

import importlib
import platform
import re
from collections.abc import Iterable, Iterator
from importlib.machinery import EXTENSION_SUFFIXES
from typing import Any

import torch

from hicache_impl.sglang.build import Parts
from hicache_impl.sglang.errors import WrongCore
from hicache_impl.sglang.loader import Loaded
from hicache_impl.sglang.observe import Nodes
from hicache_impl.sglang.releases import Range
from hicache_impl.sglang.unified.calls import Calls, Held
from hicache_impl.sglang.unified.observe import UnifiedObserver
from hicache_impl.sglang.unified.places import IN_RUST, Places
from hicache_impl.sglang.unified.rust_names import Names
from hicache_model.observations import COMPONENT_HOST, LEAF_SETS, LOCKS, ORDER, PINS
from hicache_model.snapshot import Node, Path, Snapshot

NOT_SHOWN = (LOCKS, PINS, LEAF_SETS, ORDER, COMPONENT_HOST)

#: Releases that ship it; of these the first fails for good when asked for a node that has left.
SHIPPED, LOOKED_INTO = Range(since="0.5.19"), Range(since="0.5.20")


# -- whether it can be loaded ----------------------------------------------------------------------


def refuse_unloadable(loaded: Loaded) -> None:
    """Raises WrongCore with the one thing that is missing, and imports the extension."""
    missing = next(_missing(loaded), None)
    if missing is not None:
        raise WrongCore(
            f"the Rust tree core of sglang {loaded.version} cannot be loaded: {missing}; "
            "--core python runs the other core"
        )


def _missing(loaded: Loaded) -> Iterator[str]:
    folder = loaded.located.root / "srt" / "mem_cache" / "rust_tree_core"
    built = sorted(path.name for path in folder.glob("mem_cache.*.so"))
    if loaded.version not in SHIPPED:
        yield "0.5.19 is the first that has one"
    if loaded.version not in LOOKED_INTO:
        yield "asked for a node that has left it fails for good; 0.5.20 is the first that can run"
    if not built:
        yield f"there is no compiled extension in {folder} (the wheels of a release have one)"
    if not any(name == f"mem_cache{suffix}" for name in built for suffix in EXTENSION_SUFFIXES):
        here = f"{platform.python_implementation()} {platform.python_version()}"
        yield f"its extension is {', '.join(built)}, which this {here} cannot load"
    build = loaded.module("rust_extensions.torch_build")
    lowest, highest = build._MIN_SUPPORTED_TORCH, build._MAX_SUPPORTED_TORCH
    found = re.match(r"(\d+)\.(\d+)", torch.__version__)
    if found is None or not lowest <= tuple(map(int, found.groups())) <= highest:
        span = " to ".join(".".join(map(str, version)) for version in (lowest, highest))
        yield f"it needs torch {span}, and this is torch {torch.__version__}"
    try:
        importlib.import_module("sglang.srt.mem_cache.rust_tree_core.mem_cache")
    except ImportError as error:
        yield str(error).splitlines()[0]


# -- calls -----------------------------------------------------------------------------------------


class RustCalls(Calls):
    """As Calls; a node is its id."""

    def __init__(self, parts: Parts) -> None:
        super().__init__(parts)
        self.names = Names(self.tree, int(self.full), self.page_size, parts.bigram)

    def _find_places(self, version: str) -> Places:
        return IN_RUST

    def keep_up(self) -> None:
        self.names.refresh()

    def is_root(self, handle: Any) -> bool:
        return bool(self.tree.is_root(handle))

    def path_slots(self, handle: Any) -> Any:
        return self.tree.collect_full_device_indices(handle, self.tree.root_node_handle())

    def backed_up_from(self, handle: Any) -> Any:
        self.names.refresh()
        return next((n for n in self.names.up_from(handle) if self.tree.is_backuped(n)), None)

    def pinned_nodes(self, held: Held) -> list[Any]:
        """The node itself; how far up its pin reaches is not shown."""
        return [held.handle]


# -- observation -----------------------------------------------------------------------------------


class RustNodes(Nodes):
    """The nodes of one Rust core."""

    def __init__(self, calls: RustCalls) -> None:
        super().__init__(calls)
        self.names = calls.names

    def forget(self) -> None:
        """Nothing is trusted between two looks but the names."""

    def look(self) -> None:
        self.names.refresh()
        before = self.by_path
        self.by_path = {
            path: self._project(number, path, before.get(path))
            for path, number in self.names.numbers.items()
        }

    def _project(self, number: int, path: Path, before: Node | None) -> Node:
        """The node as it is; the same object again where it has not changed."""
        entry = self.names.entries[number]
        node = Node(path, entry.length, entry.device, entry.host, 0, 0, False, False)
        return before if before is not None and before == node else node

    def strays(self) -> tuple[str, ...]:
        """Nodes without a name or with another's, and keys that are not what their names say."""
        names = self.names
        found = [f"node {number}, which nothing made" for number in names.nameless]
        for number, entry in names.entries.items():
            path = names.paths.get(number)
            if path is None:
                continue
            if names.numbers[path] != number:
                found.append(f"a second node {path}")
            if entry.edge is not None and entry.edge != path.tokens[-len(entry.edge) :]:
                found.append(f"node {path} with the key {list(entry.edge)}")
        return tuple(found)

    def at(self, path: Path) -> Node | None:
        number = self.names.numbers.get(path)
        return None if number is None else self._project(number, path, self.by_path.get(path))

    def path_of(self, real: Any) -> Path | None:
        return self.names.paths.get(real) if real in self.names.entries else None

    def path_if_attached(self, real: Any) -> Path | None:
        return self.path_of(real)

    def path(self, real: Any) -> Path:
        """Also of a node that has left the tree."""
        if real not in self.names.paths:
            self.names.refresh()
        return self.names.paths[real]


class RustObserver(UnifiedObserver):
    """Looks at one cache with the Rust core."""

    calls: RustCalls

    def _make_nodes(self) -> Nodes:
        return RustNodes(self.calls)

    def _sizes(self) -> tuple[int, int, int, int]:
        """Without the leaf sets."""
        tree = self.calls.tree
        return tree.evictable_size(), tree.protected_size(), 0, 0

    def _node_of(self, ongoing: Any) -> Any:
        return None if ongoing is None else ongoing[0]

    def observe_at(self, paths: Iterable[Path]) -> Snapshot:
        self.calls.names.refresh()
        return super().observe_at(paths)
