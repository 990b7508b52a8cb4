"""The Rust tree core: what can be called and seen of it from outside.

Nodes are integer ids, minted in order and never twice; one that has left the tree raises KeyError.
The production binding shows sizes, device values, backup specs and the shape of known paths; it
shows no keys of nodes without a host copy, so the keys that go in with an insert name the nodes.
"""

from __future__ import annotations

import importlib
import platform
import re
from collections.abc import Iterator
from importlib.machinery import EXTENSION_SUFFIXES
from typing import Any

import torch

from hicache_impl.sglang.errors import WrongCore
from hicache_impl.sglang.loader import Loaded
from hicache_impl.sglang.observe import Nodes, slots_of
from hicache_impl.sglang.releases import Range
from hicache_impl.sglang.unified.calls import Calls, Held
from hicache_impl.sglang.unified.observe import UnifiedObserver
from hicache_impl.sglang.unified.places import IN_RUST, Places
from hicache_model.observations import LEAF_SETS, LOCKS, ORDER, PINS
from hicache_model.snapshot import Node, Path, Slots

NOT_SHOWN = (LOCKS, PINS, LEAF_SETS, ORDER)

#: Releases whose binding tells the ids on a path (``collect_path_info``).
TELLS_PATHS = Range(since="0.5.22")

#: Ids that one operation may mint and take out of the tree again.
GAP = 16


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
    if loaded.version not in TELLS_PATHS:
        yield "its binding does not tell the nodes on a path; 0.5.22 is the first that can be run"
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

    def _find_places(self, version: str) -> Places:
        return IN_RUST

    def is_root(self, handle: Any) -> bool:
        return bool(self.tree.is_root(handle))

    def path_slots(self, handle: Any) -> Any:
        return self.tree.collect_full_device_indices(handle, self.tree.root_node_handle())

    def backed_up_from(self, handle: Any) -> Any:
        (path,) = self.tree.collect_path_info([handle])
        above = (info.node_id for info in reversed(path))
        return next((node for node in above if self.tree.is_backuped(node)), None)

    def pinned_nodes(self, held: Held) -> list[Any]:
        """The node itself; how far up its pin reaches is not shown."""
        return [held.handle]


# -- nodes -----------------------------------------------------------------------------------------


class RustNodes(Nodes):
    """The nodes of one Rust core. Named once: the path to a node's end never changes."""

    def __init__(self, calls: RustCalls) -> None:
        super().__init__(calls)  # type: ignore[arg-type]
        self.core = calls.tree
        self._full = int(calls.full)
        self._names: dict[int, Path] = {}
        self._lengths: dict[int, int] = {}
        self._nameless: set[int] = set()
        self._odd: list[str] = []
        self._next = 0
        self._listen()

    # names

    def _listen(self) -> None:
        """Note the key of each insert, and the node that it ended at."""
        core, begin, resume = self.core, self.core.begin_insert, self.core.resume_insert
        keys: list[Any] = []

        def begin_insert(params: Any) -> Any:
            keys[:] = [params.key]
            return self._ended(keys[0], begin(params))

        def resume_insert() -> Any:
            return self._ended(keys[0], resume())

        core.begin_insert, core.resume_insert = begin_insert, resume_insert

    def _ended(self, key: Any, step: Any) -> Any:
        if step.result is not None:
            tokens = tuple(key.token_ids)
            length = len(tokens) // self.calls.page_size * self.calls.page_size
            if length:
                path = Path(key.extra_key, tokens[:length])
                self._names[step.result.last_device_node] = path
        return step

    def _refresh(self) -> None:
        """Find ids that were minted since the last time, forget those that left, name the rest."""
        self._lengths = {n: found for n in self._lengths if (found := self._length(n)) is not None}
        number = self._next
        while number < self._next + GAP:
            length = self._length(number)
            if length is not None:
                self._next = number + 1
                if not self.core.is_root(number):
                    self._lengths[number] = length
            number += 1
        self._nameless = self._lengths.keys() - self._names.keys()
        if self._nameless:
            self._name_by_descendants()

    def _length(self, number: int) -> int | None:
        """The tokens of a node's own edge; None for one that is not in the tree."""
        try:
            (length,) = self.core._binding.get_node_key_lengths([number])
        except KeyError:
            return None
        return int(length)

    def _name_by_descendants(self) -> None:
        named = [number for number in self._lengths if number in self._names]
        for number, path in zip(named, self.core.collect_path_info(named), strict=True):
            namespace, tokens = self._names[number]
            for info in path:
                self._names.setdefault(info.node_id, Path(namespace, tokens[: info.path_end]))
        self._nameless -= self._names.keys()

    # looking

    def forget(self) -> None:
        """Nothing is trusted between two looks but the names."""

    def look(self) -> None:
        self._refresh()
        self._odd = []
        before, self.by_path = self.by_path, {}
        for number in self._lengths:
            path = self._names.get(number)
            if path is not None:
                self.by_path[path] = self._project(number, path, before.get(path))
        twice = len(self._lengths) - len(self._nameless) - len(self.by_path)
        if twice:
            self._odd.append(f"{twice} paths twice in the tree")

    def _project(self, number: int, path: Path, before: Node | None) -> Node:
        """The node as it is; the same object again where it has not changed."""
        value = self.core.get_component_device_value(number, self._full)
        device = None if value is None else slots_of(value)
        node = Node(
            path, self._lengths[number], device, self._host(number, path), 0, 0, False, False
        )
        return before if before == node and before is not None else node

    def _host(self, number: int, path: Path) -> Slots | None:
        spec = self.core.build_storage_backup_spec(number, False)
        if spec is None:
            return None
        edge = tuple(spec.token_ids)
        if edge != path.tokens[len(path.tokens) - len(edge) :]:
            self._odd.append(f"the key {list(edge)} of node {path}")
        return slots_of(spec.host_value)

    def strays(self) -> tuple[str, ...]:
        return (*self._odd, *(f"node {n}, which no insert made" for n in sorted(self._nameless)))

    # single nodes

    def at(self, path: Path) -> Node | None:
        self._refresh()
        for number in self._lengths:
            if self._names.get(number) == path:
                return self._project(number, path, None)
        return None

    def path_of(self, real: Any) -> Path | None:
        return self._names.get(real) if real in self._lengths else None

    def path_if_attached(self, real: Any) -> Path | None:
        return self.path_of(real)

    def path(self, real: Any) -> Path:
        """Also of a node that has left the tree."""
        if real not in self._names:
            self._refresh()
        return self._names[real]


class RustObserver(UnifiedObserver):
    """Looks at one cache with the Rust core."""

    def _make_nodes(self) -> Nodes:
        return RustNodes(self.calls)  # type: ignore[arg-type]

    def _sizes(self) -> tuple[int, int, int, int]:
        """Without the leaf sets."""
        tree = self.calls.tree
        return tree.evictable_size(), tree.protected_size(), 0, 0

    def _node_of(self, ongoing: Any) -> Any:
        return None if ongoing is None else ongoing[0]
