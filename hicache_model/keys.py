"""What keys of nodes are made of: tokens, or pairs of neighbouring tokens.

With speculative decoding (EAGLE, MTP) a server's tree has keys of pairs, since the draft model's KV
of a position depends on the next token, too: SGLang's ``CacheInitParams.is_eagle`` and
``RadixKey.is_bigram``. ``n`` tokens make ``n - 1`` pairs, so the KV of the last one has no key. A
pair is an integer above every token id: a path of either kind is a tuple of integers, its length
the number of positions whose KV it names, and only the edges of a tree know of the difference.
"""

from __future__ import annotations

from hicache_model.fields import MAX_COUNT

Keys = tuple[int, ...]

FIRST_PAIR = MAX_COUNT
"""Token ids are less."""


def pair(first: int, second: int) -> int:
    return (first + 1) * FIRST_PAIR + second


def keys_of(tokens: tuple[int, ...], *, bigram: bool) -> Keys:
    """The keys that a list of tokens makes: themselves, or their pairs."""
    return tuple(map(pair, tokens, tokens[1:])) if bigram else tokens


def length_in_pages(count: int, page_size: int, *, bigram: bool) -> int:
    """How many of ``count`` neighbouring tokens lie in whole pages of keys."""
    return max(0, count - bigram) // page_size * page_size


def positions_of(keys: Keys) -> tuple[int, ...]:
    """The tokens at the positions that ``keys`` name, of pairs the first of each."""
    if not keys or keys[0] < FIRST_PAIR:
        return keys
    return tuple([key // FIRST_PAIR - 1 for key in keys])


def tokens_of(keys: Keys) -> tuple[int, ...]:
    """The tokens that make ``keys``: ``keys_of`` backwards."""
    if not keys or keys[0] < FIRST_PAIR:
        return keys
    return (*positions_of(keys), keys[-1] % FIRST_PAIR)
