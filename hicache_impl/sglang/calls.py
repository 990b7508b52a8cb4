"""The calls on a cache that HiRadixCache and UnifiedRadixCache have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from hicache_impl.sglang.build import Parts
from hicache_impl.sglang.namespaces import KeyParts, parts_of, radix_key


class CommonCalls:
    """One cache, and the calls that both the driver and the scheduler make.

    ``ids`` makes token ids as the release keeps them.
    """

    def __init__(self, parts: Parts, ids: Callable[[Iterable[int]], Any]) -> None:
        loaded = parts.loaded
        self.parts, self.ids = parts, ids
        self.cache, self.allocator = parts.cache, parts.allocator
        self.rows = parts.req_to_token_pool
        self.page_size: int = parts.cache.page_size
        self.base = loaded.module("mem_cache.base_prefix_cache")
        self.common = loaded.module("mem_cache.common")
        self._radix_key = loaded.module("mem_cache.radix_cache").RadixKey

    def key(self, tokens: Iterable[int], namespace: str | None) -> Any:
        return radix_key(self._radix_key, self.ids(tokens), self.namespace(namespace))

    def namespace(self, namespace: str | None) -> KeyParts:
        return parts_of(namespace, self.parts.loaded.version)

    def match(self, tokens: Iterable[int], namespace: str | None) -> Any:
        return self.cache.match_prefix(self.base.MatchPrefixParams(key=self.key(tokens, namespace)))

    def evict_for(self, tokens: int) -> None:
        """Evict, where fewer than ``tokens`` are free, as much as this release does."""
        self.common.evict_from_tree_cache(self.cache, tokens)
