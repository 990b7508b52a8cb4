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

WHOSE_TURN = "        should_update = completed_mamba_boundary if lazy else known_mamba_boundary\n"

OVERWRITTEN_STATE = Untraced(
    identifier="overwritten-state",
    title="A Mamba state that the tree has got is overwritten by the batch launched ahead",
    targets=("sglang-unified", "sglang-unified-rust"),
    affected=("0.5.22", "0.5.23"),
    patch=SourcePatch(
        "sglang.srt.managers.scheduler_components.batch_result_processor",
        WHOSE_TURN,
        "        should_update = completed_mamba_boundary\n"
        "        if completed_mamba_boundary is not None and not lazy:\n"
        "            should_update = False\n"
        "            if completed_mamba_boundary:\n"
        "                pool, last = batch.req_to_token_pool, req.kv.mamba_last_track_idx\n"
        "                turn = pool.get_mamba_ping_pong_other_idx(last)\n"
        "                req.kv.mamba_next_track_idx = turn\n",
    ),
    story=(
        "With an extra buffer (what servers take by default where batches overlap) a request that "
        "decodes keeps its state each --mamba-track-interval tokens, in one of two slots in turn, "
        "so that a batch launched ahead never writes into the slot of the last state. The turn is "
        "changed with the result of the batch before the boundary "
        "(_handle_finish_state_updated_req, known_mamba_boundary), and that result must be a "
        "decode's. After a prefill it is not changed: the request's own, where its first token "
        "ends at a boundary, or one of others, which any busy server launches between two decode "
        "steps. It is changed in vain where the boundary rides in a mixed batch, which keeps no "
        "state. Either way the next boundary is written over the last state. A request that ends "
        "while that batch is under way (not by its length: then none is launched) gives this slot "
        "to the tree, as the state after the tokens of the last boundary, and it has seen more. "
        "Whoever goes on from there, as the next turn of a conversation does, gets wrong output "
        "without any error. The lazy extra buffer changes turns otherwise. The same lines are in "
        "0.5.18 to 0.5.21 (read). The patch changes the turn with the result of the boundary "
        "itself. The test restates what the server launches, and runs its own processing of "
        "results."
    ),
    upstream_test="overwritten_state.py",
)

UNTRACED: tuple[Untraced, ...] = (STRIPPED_THINKING, OVERWRITTEN_STATE)
