"""Looks at a cache between the steps of one operation, where its tree core works in steps.

From 0.5.17 on an insert begins, resumes after each backup that it asks for, and ends; an eviction
starts, names a node, evicts it, demotes it once it is backed up, and ends. A step only says what is
to be freed; the cache frees it before the next one. The core's methods are wrapped on the instance
(unified_cache/unified_tree_core_interface.py has them all).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import chain
from typing import Any

from hicache_impl.sglang.observe import slots_of
from hicache_model.snapshot import Boundary, Slots, Snapshot

BEGIN_INSERT = "begin_insert"
STEPS = (
    BEGIN_INSERT,
    "resume_insert",
    "end_insert",
    "evict_device_start",
    "evict_device_next_node",
    "evict_device_leaf",
    "demote",
    "drop_subtree_no_host",
    "evict_device_end",
    "drive_host_eviction",
)


class Steps:
    """Tells ``seen``, while it is given, of each boundary: after a step, and before the next."""

    def __init__(self, core: Any, observe: Callable[[], Snapshot]) -> None:
        self._observe = observe
        self._seen: list[Boundary] | None = None
        self._last: str | None = None
        self._given: Slots = ()
        for name in STEPS:
            if hasattr(core, name):
                setattr(core, name, self._watched(name, getattr(core, name)))

    def watch(self, seen: list[Boundary] | None) -> None:
        self._seen, self._last, self._given = seen, None, ()

    def _watched(self, name: str, step: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*arguments: Any) -> Any:
            if self._seen is None:
                return step(*arguments)
            if self._last is not None:
                self._note(self._last, applied=True)
            if name == BEGIN_INSERT:
                self._given += slots_of(arguments[0].value)
            result = step(*arguments)
            self._last = name
            self._note(name, *_leaving(result))
            return result

        return watched

    def _note(self, name: str, *leaving: Slots, applied: bool = False) -> None:
        assert self._seen is not None
        self._seen.append(Boundary(name, applied, self._observe(), self._given, *leaving))


def _leaving(result: Any) -> tuple[Slots, Slots]:
    """The device and the host slots that the cache is told to free."""
    if isinstance(result, list):
        return _of_actions(result), ()
    actions = [*getattr(result, "actions", ()), *getattr(result, "cache_actions", ())]
    device = _of_components(getattr(result, "device_frees", {}))
    return device + _of_actions(actions), _of_components(getattr(result, "host_frees", {}))


def _of_actions(actions: Iterable[Any]) -> Slots:
    return _joined(getattr(action, "indices", ()) for action in actions)


def _of_components(frees: dict[Any, Any]) -> Slots:
    return _joined(frees.values())


def _joined(tensors: Iterable[Iterable[Any]]) -> Slots:
    return tuple(chain.from_iterable(map(slots_of, chain.from_iterable(tensors))))
