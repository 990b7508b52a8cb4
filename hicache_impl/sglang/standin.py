"""Placeholders: modules and names that may be imported, subclassed and annotated, not used.

Whatever is asked of them that would be behaviour (a call, a truth value, an item, an iteration)
raises PlaceholderUsed with the full name. Predicates answer False: "is this CUDA?" no.
"""

from __future__ import annotations

import re
from types import ModuleType
from typing import Any, NoReturn

from hicache_impl.sglang.errors import PlaceholderUsed

_PREDICATE = re.compile(r"_*(is|can|supports?)_")


def used(name: str, how: str) -> NoReturn:
    raise PlaceholderUsed(
        f"placeholder {name} was {how}: this path of the release needs what is not loaded; "
        "give it content in hicache_impl/sglang/placeholders.py"
    )


class _StandIn(type):
    """The class of stand-ins. A stand-in is a class, so that it can be a base or an annotation."""

    _standin_name: str

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        if "_standin_name" in cls.__dict__:
            used(cls._standin_name, "called")
        return super().__call__(*args, **kwargs)

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__") or "_standin_name" not in cls.__dict__:
            raise AttributeError(f"{cls.__name__} has no attribute {name}")
        value = stand_in(f"{cls._standin_name}.{name}")
        setattr(cls, name, value)
        return value

    def __getitem__(cls, key: Any) -> Any:
        return cls  # ``Generic[T]`` in an annotation

    def __iter__(cls) -> Any:
        used(cls._standin_name, "iterated over")

    def __bool__(cls) -> bool:
        if "_standin_name" in cls.__dict__:
            used(cls._standin_name, "asked for its truth value")
        return True


def stand_in(name: str) -> Any:
    """What a name of a placeholder module stands for."""
    short = name.rpartition(".")[2]
    if _PREDICATE.match(short):
        return lambda *args, **kwargs: False
    return _StandIn(short, (), {"_standin_name": name, "__module__": "placeholder"})


class PlaceholderModule(ModuleType):
    """A module whose names come from ``content``, and are stand-ins otherwise."""

    def __init__(self, name: str, content: dict[str, Any]) -> None:
        super().__init__(name, "A placeholder of hicache-verify.")
        self.__dict__.update(content)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(f"placeholder module {self.__name__} has no {name}")
        value = stand_in(f"{self.__name__}.{name}")
        self.__dict__[name] = value
        return value
