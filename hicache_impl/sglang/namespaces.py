"""Keys as a release has them, and their namespaces.

A namespace is an ``extra_key`` and, where the release knows one, a ``cache_salt``: ``a`` is an
extra_key, ``a#b`` the same with the salt b, and ``#b`` that salt alone. To a release without salts
the whole text is the extra_key (radix_cache.py, RadixKey; schedule_batch.py, Req).
"""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

from hicache_impl.sglang.releases import Range
from hicache_model.keys import Keys, keys_of, pair

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


def keys_in(key: Any) -> Keys:
    """What a RadixKey stands for: its tokens, or their pairs.

    Up to 0.5.10 a key lists the pairs, and slices of it forget what they are; then it has the
    tokens, of which the last only ends a pair (radix_cache.py, convert_to_bigram_key, RadixKey).
    """
    token_ids = tuple(key.token_ids)
    if token_ids and isinstance(token_ids[0], tuple):
        return tuple(itertools.starmap(pair, token_ids))
    return keys_of(token_ids, bigram=key.is_bigram)
