"""The calls on a cache that HiRadixCache and UnifiedRadixCache have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Any

from hicache_impl.sglang.build import Parts
from hicache_impl.sglang.namespaces import KeyParts, parts_of, radix_key
from hicache_impl.sglang.releases import Range
from hicache_model.keys import Keys, length_in_pages, tokens_of

#: Where a key lists its pairs; later it has the tokens (radix_cache.py, RadixKey).
LISTS_PAIRS = Range(before="0.5.11")

#: Where a lookup ends before the end of its tokens, which are not cut (Req.init_next_round_input).
LIMITS_KEYS = Range(since="0.5.14")


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
        """As a scheduler gives it to a lookup: where pairs are wanted, the cache makes them."""
        return radix_key(self._radix_key, self.ids(tokens), self.namespace(namespace))

    def prompt_key(self, tokens: tuple[int, ...], namespace: str | None) -> Any:
        """As a request that begins is looked up: its last token is always computed."""
        if self.parts.loaded.version not in LIMITS_KEYS:
            return self.key(tokens[:-1], namespace)
        key = self.key(tokens, namespace)
        key.limit = len(tokens) - 1
        return key

    def node_key(self, keys: Keys, namespace: str | None) -> Any:
        """As a node has it."""
        tokens = tokens_of(keys)
        key = self.key(tokens, namespace)
        if self.parts.bigram:
            key.is_bigram = True
            if self.parts.loaded.version in LISTS_PAIRS:
                key.token_ids = [*pairwise(tokens)]
        return key

    def length_in_pages(self, count: int) -> int:
        """Of how many tokens a tree takes the KV, where ``count`` follow one another."""
        return length_in_pages(count, self.page_size, bigram=self.parts.bigram)

    def namespace(self, namespace: str | None) -> KeyParts:
        return parts_of(namespace, self.parts.loaded.version)

    def match(self, tokens: Iterable[int], namespace: str | None) -> Any:
        return self.look_up(self.key(tokens, namespace))

    def look_up(self, key: Any, **named: Any) -> Any:
        return self.cache.match_prefix(self.base.MatchPrefixParams(key=key, **named))

    def evict_for(self, tokens: int) -> None:
        """Evict, where fewer than ``tokens`` are free, as much as this release does."""
        self.common.evict_from_tree_cache(self.cache, tokens)
