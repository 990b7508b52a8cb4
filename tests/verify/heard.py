"""What a cache is asked to do, call by call.

Some of it no state shows afterwards: a lock or a pin that is taken and given back within one
operation, while a load locks and pins by itself (``load_back`` of both caches). Lookups are left
out: the caches make them in several ways, and what a lookup does, the tree shows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

CALLS = (
    *("inc_lock_ref", "dec_lock_ref", "inc_host_lock_ref", "dec_host_lock_ref"),
    *("init_load_back", "ready_to_load_host_cache", "flush_pending_backups", "insert", "evict"),
)
INSERTED = ("key", "value", "prev_prefix_len", "inserted_len", "chunked", "priority")
LOADED = ("best_match_node", "last_host_node", "host_hit_length", "mem_quota")


class Call(NamedTuple):
    name: str
    about: tuple[Any, ...]


class Heard:
    """Listens to all caches of a class; those that a cache makes itself are among the calls."""

    def __init__(self, kind: type) -> None:
        self._calls: list[Call] = []
        for name in CALLS:
            if hasattr(kind, name):
                setattr(kind, name, self._listening(name, getattr(kind, name)))

    def take(self) -> list[Call]:
        """What was heard since this was asked last."""
        calls, self._calls = self._calls, []
        return calls

    def _listening(self, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def heard(cache: Any, *given: Any, **named: Any) -> Any:
            self._calls.append(Call(name, tuple(map(told, given[:1]))))
            return method(cache, *given, **named)

        return heard


def told(given: Any) -> Any:
    """An argument as plain data; nodes by their ids, which begin again with each cache."""
    if hasattr(given, "num_tokens"):
        return given.num_tokens
    if hasattr(given, "host_hit_length"):
        return tuple(told(getattr(given, name)) for name in LOADED if hasattr(given, name))
    if hasattr(given, "prev_prefix_len"):
        return tuple(told(getattr(given, name)) for name in INSERTED if hasattr(given, name))
    if hasattr(given, "token_ids"):
        return given.extra_key, getattr(given, "cache_salt", None), tuple(given.token_ids)
    if hasattr(given, "tolist"):
        return tuple(given.tolist())
    return getattr(given, "id", given)


def first_other(due: list[Call], found: list[Call]) -> str | None:
    """Where they part, in one line; None where they are the same."""
    if due == found:
        return None
    pairs = zip([*due, None], [*found, None], strict=False)
    return next(f"{one} was due, not {other}" for one, other in pairs if one != other)
