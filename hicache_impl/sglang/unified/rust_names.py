"""Which nodes the Rust tree core has, and what their paths are.

Ids are minted in order and never twice; one that has left the tree raises KeyError. The production
binding shows no key of a node without a host copy. So nodes are named by the keys that go in with
inserts, and by the splits that can only have come from a node that was named: the path to a node's
end never changes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import attrs

from hicache_impl.sglang.namespaces import namespace_of
from hicache_impl.sglang.observe import slots_of
from hicache_model.keys import Keys, keys_of, length_in_pages
from hicache_model.snapshot import Path, Slots

#: Ids that one operation may mint and take out of the tree again.
GAP = 16


@attrs.define(frozen=True, slots=True)
class Entry:
    """What is shown of a node. ``edge`` is the end of its key, where it has a host copy."""

    device: Slots | None
    host: Slots | None
    edge: Keys | None

    @property
    def length(self) -> int:
        return len(self.device if self.device is not None else self.host or ())


class Names:
    """``entries`` are the nodes in the tree, by id; ``paths`` names them, and those that left."""

    def __init__(self, core: Any, component: int, page_size: int, bigram: bool) -> None:
        self.core, self.page_size, self.bigram = core, page_size, bigram
        self.entries: dict[int, Entry] = {}
        self.paths: dict[int, Path] = {}
        self.numbers: dict[Path, int] = {}
        self._component = component
        self._next = 0
        self._listen()

    @property
    def nameless(self) -> list[int]:
        return [number for number in self.entries if number not in self.paths]

    def refresh(self) -> None:
        """Look at every node, find those that are new and name them."""
        before = self.entries
        self.entries = dict(self._found(before))
        nameless = self.nameless
        if nameless:
            self._name_halves(nameless, before)
        self.numbers = {
            self.paths[number]: number for number in self.entries if number in self.paths
        }

    def up_from(self, number: int) -> Iterator[int]:
        """The node and those above it."""
        path = self.paths.get(number)
        while path is not None and path in self.numbers:
            number = self.numbers[path]
            yield number
            tokens = path.tokens[: len(path.tokens) - self.entries[number].length]
            path = Path(path.namespace, tokens) if tokens else None

    # -- looking

    def _found(self, before: dict[int, Entry]) -> Iterator[tuple[int, Entry]]:
        for number in before:
            entry = self._look(number)
            if entry is not None:
                yield number, entry
        number = self._next
        while number < self._next + GAP:
            entry = self._look(number)
            if entry is not None:
                self._next = number + 1
                if not self.core.is_root(number):
                    yield number, entry
            number += 1

    def _look(self, number: int) -> Entry | None:
        try:
            value = self.core.get_component_device_value(number, self._component)
        except KeyError:
            return None
        spec = self.core.build_storage_backup_spec(number, False)
        device = None if value is None else slots_of(value)
        if spec is None:
            return Entry(device, None, None)
        edge = keys_of(tuple(spec.token_ids), bigram=self.bigram)
        return Entry(device, slots_of(spec.host_value), edge)

    # -- naming

    def _listen(self) -> None:
        """Note the key of each insert, and the node that it ended at."""
        begin, resume = self.core.begin_insert, self.core.resume_insert
        keys: list[Any] = []

        def begin_insert(params: Any) -> Any:
            keys[:] = [params.key]
            return self._ended(keys[0], begin(params))

        def resume_insert() -> Any:
            return self._ended(keys[0], resume())

        self.core.begin_insert, self.core.resume_insert = begin_insert, resume_insert

    def _ended(self, key: Any, step: Any) -> Any:
        if step.result is not None:
            tokens = tuple(key.token_ids)
            length = length_in_pages(len(tokens), self.page_size, bigram=self.bigram)
            if length:
                keys = keys_of(tokens, bigram=self.bigram)
                path = Path(namespace_of(key), keys[:length])
                self.paths[step.result.last_device_node] = path
        return step

    def _name_halves(self, nameless: list[int], before: dict[int, Entry]) -> None:
        """Each fills a gap above a named node: the one that it was split from, where that shows."""
        while nameless:
            gaps = dict(self._gaps())
            fitting = [
                (not self._is_part(self.entries[number], before.get(below)), number, path)
                for number in nameless
                for path, below in gaps.items()
                if self._fits(self.entries[number], path) and self._is_above(number, below)
            ]
            if not fitting:
                self._name_heads(nameless, before)
                return
            _, number, path = min(fitting, key=lambda found: found[:2])
            self.paths[number] = path
            nameless.remove(number)

    def _name_heads(self, nameless: list[int], before: dict[int, Entry]) -> None:
        """Those whose lower halves left the tree at once: they have the first of what it had.

        Host slots tell more: device slots may be given away and taken again.
        """
        for number in nameless:
            entry = self.entries[number]
            for tier in ("host", "device"):
                lower = next((n for n in before if _is_head(entry, before[n], tier)), None)
                path = None if lower is None else self.paths.get(lower)
                if lower is not None and path is not None:
                    end = len(path.tokens) - before[lower].length + entry.length
                    self.paths[number] = Path(path.namespace, path.tokens[:end])
                    break

    def _gaps(self) -> Iterator[tuple[Path, int]]:
        """Paths that a node in the tree must have, as another one hangs below; and that one."""
        there = {self.paths[number] for number in self.entries if number in self.paths}
        for number, entry in self.entries.items():
            path = self.paths.get(number)
            if path is not None and entry.length < len(path.tokens):
                above = Path(path.namespace, path.tokens[: len(path.tokens) - entry.length])
                if above not in there:
                    yield above, number

    def _fits(self, entry: Entry, path: Path) -> bool:
        start = len(path.tokens) - entry.length
        return start >= 0 and entry.edge in (None, path.tokens[start:])

    def _is_above(self, number: int, below: int) -> bool:
        """Whether its slots come before those of ``below`` on the device, where both show."""
        entry, under = self.entries[number].device, self.entries[below].device
        if entry is None or under is None:
            return True
        path = self.core.collect_full_device_indices(below, self.core.root_node_handle())
        return slots_of(path)[: -len(under)][-len(entry) :] == entry

    def _is_part(self, entry: Entry, whole: Entry | None) -> bool:
        """Whether ``entry`` has slots that ``whole`` had before."""
        if whole is None:
            return False
        return any(
            mine and theirs and set(mine) <= set(theirs)
            for mine, theirs in ((entry.device, whole.device), (entry.host, whole.host))
        )


def _is_head(entry: Entry, whole: Entry, tier: str) -> bool:
    mine, theirs = getattr(entry, tier), getattr(whole, tier)
    return mine is not None and theirs is not None and theirs[: len(mine)] == mine
