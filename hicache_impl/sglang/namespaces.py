"""A namespace as a release has it: its ``extra_key`` and, where it knows one, its ``cache_salt``.

``a`` is an extra_key, ``a#b`` the same with the salt b, and ``#b`` that salt alone. To a release
without salts the whole text is the extra_key (radix_cache.py, RadixKey; schedule_batch.py, Req).
"""

from __future__ import annotations

from typing import Any, NamedTuple

from hicache_impl.sglang.releases import Range

SALTED = Range(since="0.5.18")
MARK = "#"


class KeyParts(NamedTuple):
    extra_key: str | None
    cache_salt: str | None = None


def parts_of(namespace: str | None, version: str) -> KeyParts:
    """What a key and a request of this release are given."""
    if namespace is None or version not in SALTED:
        return KeyParts(namespace)
    extra_key, _, salt = namespace.partition(MARK)
    return KeyParts(extra_key or None, salt) if salt else KeyParts(namespace)


def namespace_of(key: Any) -> str | None:
    """The namespace that a RadixKey is in: ``parts_of`` backwards."""
    extra_key, salt = key.extra_key, getattr(key, "cache_salt", None)
    return extra_key if salt is None else f"{extra_key or ''}{MARK}{salt}"


def radix_key(kind: Any, token_ids: Any, parts: KeyParts) -> Any:
    """A RadixKey; ``kind`` is the class."""
    if parts.cache_salt is None:
        return kind(token_ids, parts.extra_key)
    return kind(token_ids, parts.extra_key, cache_salt=parts.cache_salt)
