"""An eviction policy of your own, from ``FILE.py:NAME`` or ``MODULE:NAME``: its code is run."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from itertools import product
from pathlib import Path
from types import ModuleType
from typing import Any

import attrs

from hicache_model.policies import BadPolicy, add_own, is_own_name, named


@attrs.frozen
class _Sample:
    hit_count: int
    last_access: int
    creation: int
    priority: int
    start: int
    reach: int


SAMPLES = tuple(
    _Sample(hits, created + later, created, priority, start, start + beyond)
    for hits, later, created, priority, start, beyond in product(
        (0, 1, 5), (0, 1, 40), (1, 9), (0, 2), (0, 4), (1, 9)
    )
)
"""Nodes as they occur: none is used before it was made, and the first tick is 1."""


def add(name: str) -> None:
    """Load a policy, try it, and make it known by its name; BadPolicy where that fails."""
    if not is_own_name(name):
        raise BadPolicy(f"{name!r:.80} names no code; write FILE.py:NAME or MODULE:NAME")
    place, _, attribute = name.partition(":")
    function = getattr(_module(place), attribute, None)
    if not callable(function):
        what = "has no" if function is None else "has no function"
        raise BadPolicy(f"{place} {what} {attribute}")
    add_own(name, function)
    _try(name)


def _try(name: str) -> None:
    """It must take every node, and give the same key each time."""
    policy = named(name)
    if [policy(node) for node in SAMPLES] != [policy(node) for node in SAMPLES]:
        raise BadPolicy(f"{name} gave two keys for the same counters; it may read nothing else")


def _module(place: str) -> ModuleType:
    try:
        return _file(Path(place)) if place.endswith(".py") else importlib.import_module(place)
    except Exception as error:
        why = f"{type(error).__name__}: {error}"
        raise BadPolicy(f"eviction policy: {place} cannot be imported: {why}") from error


def _file(path: Path) -> ModuleType:
    name = f"_own_policy_{path.stem}"
    spec: Any = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
