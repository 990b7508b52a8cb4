"""Defects that no operation of the vocabulary reaches: a test by hand alone shows them."""

from __future__ import annotations

import attrs

from hicache_verify.catalogue.entry import SourcePatch


@attrs.define(frozen=True, slots=True)
class Untraced:
    """On each release in ``affected`` ``upstream_test`` fails; with ``patch`` it passes."""

    identifier: str
    title: str
    targets: tuple[str, ...]
    affected: tuple[str, ...]
    patch: SourcePatch
    story: str
    upstream_test: str


OWNED = """    owned_kv_len = req.owned_kv_len()
    checkpoint = checkpoint and not req.skip_radix_cache_insert
"""

STRIPPED_THINKING = Untraced(
    identifier="stripped-thinking",
    title="A request that was retracted while it thought gives back what the tree keeps",
    targets=("sglang-unified", "sglang-unified-rust"),
    affected=("0.5.22", "0.5.23"),
    patch=SourcePatch(
        "sglang.srt.mem_cache.common",
        OWNED,
        OWNED
        + "    if owned_kv_len < req.kv.cache_protected_len:\n"
        + "        owned_kv_len, checkpoint = req.kv.cache_protected_len, False\n",
    ),
    story=(
        "With --strip-thinking-cache a request that has thought owns its prompt and no more "
        "(schedule_batch.py, owned_kv_len), so that its end gives back the rest. A retraction does "
        "not forget that it has thought: admitted again, it computes prompt and thoughts as one "
        "prompt, the tree takes both and protects them for it, beyond what it is said to own. When "
        "it finishes, an assertion ends the server (checkpoint_into_tree: cache_protected_len <= "
        "len(new_indices)). When it is retracted once more, the tree's own slots are freed, and "
        "nobody sees it: the next request gets them and writes over the KV that the tree hands to "
        "others. A decode that runs out of memory retracts, and so does priority preemption. From "
        "0.5.11 to 0.5.21 the same line frees the tree's slots already at the first end (seen on "
        "five of these, and on HiRadixCache 0.5.18; read in the others). The test restates what "
        "the server's Req answers."
    ),
    upstream_test="stripped_thinking.py",
)

UNTRACED: tuple[Untraced, ...] = (STRIPPED_THINKING,)
