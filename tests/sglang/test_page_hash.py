"""The hashes of pages, by which a cache names them in its storage."""

from __future__ import annotations

from hicache_impl.sglang.placeholders import Surroundings, contents


def test_a_chain_goes_on_from_the_digest_that_get_hash_str_hands_over() -> None:
    """mem_cache/utils.py keeps hex digits, and gives the bytes."""
    module = contents(Surroundings())["sglang.srt.mem_cache.cpp_utils.native_hash"]
    page_hash = module["get_native_hash"]
    first, second = page_hash((1, 2, 3, 4), None, 2)
    assert page_hash((3, 4), bytes.fromhex(first), 2) == [second]
    assert page_hash((3, 4), None, 2) != [second]
