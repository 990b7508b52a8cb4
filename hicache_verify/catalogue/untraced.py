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

FOUND = """        if src_index is None:
            return result
        req = params.req
        assert req is not None
"""

STALE_SOURCE = Untraced(
    identifier="stale-source",
    title="A request goes on from a Mamba state that its last lookup did not find",
    targets=("sglang-unified", "sglang-unified-rust"),
    affected=("0.5.22", "0.5.23"),
    patch=SourcePatch(
        "sglang.srt.mem_cache.unified_cache.components.mamba",
        FOUND,
        """        req = params.req
        assert req is not None
        if src_index is None:
            if req.kv.holds_mamba:
                req.kv.mamba_cow_src_index = None
                req.kv.mamba_needs_clear = not result.mamba_host_hit_length
            return result
""",
    ),
    story=(
        "A lookup for admission takes a slot for the request's own state, and notes the tree's "
        "state that is to be copied there before the prompt is computed "
        "(finalize_match_result_in_cache). Where the request is not admitted then, the scheduler "
        "gives the slot back, but not always. With HiCache's storage, a request that finds less "
        "than when it came asks the storage once more and waits (_prefetch_after_device_hit_loss, "
        "from 0.5.20 on): slot and note stay. A request of a session that is not a streaming one "
        "keeps its slot too, and the note is dropped. The next lookup takes no notice of either "
        "where it finds no state on the device. If the host has one, as after the storage has "
        "answered, it is loaded into the slot, and the old state, of a shorter prefix or of "
        "whoever has its slot now, is copied over it. If there is none, the request computes its "
        "prompt from the beginning, on top of what is copied or lies in the slot. The output is "
        "wrong without any error, and so is what the tree gets. SGLang #29354 dropped the note of "
        "a request that is refused, and did not clear the slot of a session. The patch drops the "
        "note in the lookup itself, and has the slot cleared."
    ),
    upstream_test="stale_source.py",
)

DROPPED = "        result = self.tree_core.drop_subtree_no_host(node_id)\n"

HELD_BY_STORAGE = Untraced(
    identifier="held-by-storage",
    title="An eviction does not free what counts as evictable while the storage is slow",
    targets=("sglang-unified", "sglang-unified-rust"),
    affected=("0.5.22", "0.5.23"),
    patch=SourcePatch(
        "sglang.srt.mem_cache.unified_radix_cache",
        DROPPED,
        DROPPED
        + "        if not result.is_dropped and self.ongoing_backup:\n"
        + "            self._drain_storage_control_queues_impl(\n"
        + "                0, 0, len(self.ongoing_backup), 0, None, log_metrics=True\n"
        + "            )\n"
        + DROPPED.replace("  result", "      result"),
    ),
    story=(
        "Under write_back with a storage backend each victim is copied to the host and from there "
        "written to the storage, which holds the host copy until it has written it "
        "(write_backup_storage). Storage that is slower than eviction so fills the host with "
        "copies that cannot go. The next victim then finds no room, and drop_subtree_no_host is to "
        "let it go without a copy; it declines where anything below the victim is held, and the "
        "turns of a conversation lie below each other. The victim stays on the device, nobody uses "
        "it, and evictable_size() counts it on. A prefill is admitted on what is free and "
        "evictable together; its allocation then fails, and the scheduler ends with 'Out of "
        "memory' (allocation.py). The log says 'subtree drop declined (node locked)' before. "
        "Where the host is small it takes no slow storage: acknowledgements are taken between "
        "evictions only, so that one eviction of more than the host holds fails alike. The same is "
        "in 0.5.17 to 0.5.21 (seen on four of these), and in HiRadixCache from 0.5.15 on. The "
        "patch waits for the acknowledgements that are due, as many on each rank, and tries again."
    ),
    upstream_test="held_by_storage.py",
)

HEADROOM = "                max_context_len="

UNBOUNDED_ANCHORS = Untraced(
    identifier="unbounded-anchors",
    title="Requests that wait pin what the one ahead of them needs, and the queue stands still",
    targets=("sglang-unified", "sglang-unified-rust"),
    affected=("0.5.22", "0.5.23"),
    patch=SourcePatch(
        "sglang.srt.mem_cache.unified_radix_cache",
        HEADROOM + "get_model().context_length or 0,\n",
        HEADROOM + "self.req_to_token_pool.max_context_len,\n",
    ),
    story=(
        "With --hicache-host-memory-mode buffer_only a request that waits for a storage hit pins "
        "the prefix that it found on the device, from the read on until it is admitted "
        "(try_lock_anchor). All pins together may hold half of the pool, but are to leave room for "
        "the largest request, as BufferModePipeline says: a request at the head of the queue that "
        "does not fit ends the look at the queue, so that those behind it keep their pins, and "
        "with nothing running nobody gives memory back. What they leave is the pool without "
        "get_model().context_length or 0, and that is --context-length, which is None unless it is "
        "given, not the model's. So by default nothing is kept free: a request that needs more "
        "than the pins leave (half of the pool is enough) comes to the head, the running ones end, "
        "and the server serves nothing any more, without an error, until a client gives up. Seen "
        "played as the scheduler plays it: 200 rounds without an admission, and none waits with "
        "the patch, which takes the length that the rows of req_to_token are made for. The same is "
        "in 0.5.20 and 0.5.21 (read); pins are on by default since SGLang #37464, which counts on "
        "this bound."
    ),
    upstream_test="unbounded_anchors.py",
)

AWAITED = "        # Wait for L3 -> L2 prefetch to drain (skip when no L3 hit).\n"

SHORT_RESTORE = Untraced(
    identifier="short-restore",
    title="A decode server fails each request of whose prefix it has 1 to 9 tokens on the host",
    targets=("sglang-unified", "sglang-unified-rust"),
    affected=("0.5.22", "0.5.23"),
    patch=SourcePatch(
        "sglang.srt.disaggregation.decode_hicache_mixin",
        AWAITED,
        "        # What the prefill server was not asked for has to be loaded, however short.\n"
        "        self.tree_cache.load_back_threshold = 1\n\n" + AWAITED,
    ),
    story=(
        "With --disaggregation-decode-enable-radix-cache and HiCache a decode server counts what "
        "the host and the storage have to the prefix that the prefill server need not send "
        "(DecodePrefixMatch.decode_prefix_len), and loads it while the rest is sent. The cache "
        "refuses loads below load_back_threshold, 10 tokens, as a prefill that gets less computes "
        "it; here nothing does. The restore is marked as failed at once and the request answered "
        "with status 500 (pop_transferred), and so is each one after it with this prefix, as long "
        "as the host has it. It takes pages below 10 tokens, as servers have them where the "
        "attention backend does not ask for more, and a short node on the host: the last answer "
        "of a conversation, a few tokens where two prompts part. The same is in 0.5.18 to 0.5.21 "
        "(read). SGLang #30322 tells of restores that fail for lack of what the storage promised. "
        "The patch has every length loaded."
    ),
    upstream_test="short_restore.py",
)

PENDING = "            self._release_pending_storage_ops()\n"

DETACHED_PREFETCH = Untraced(
    identifier="detached-prefetch",
    title="Detaching the storage loses the host memory of prefetches that were given up",
    targets=("sglang-unified", "sglang-unified-rust"),
    affected=("0.5.22", "0.5.23"),
    patch=SourcePatch(
        "sglang.srt.mem_cache.unified_cache.storage_attachment",
        PENDING,
        PENDING
        + """            queues = [controller.prefetch_sync_queue, controller.ack_prefetch_queue]
            acks = [ack for q in queues if q is not None for ack in list(q.queue)]
            ended = [ack.operation for ack in acks if ack is not None and ack.completed_req]
            if controller.prefetch_buffer is not None:
                ended += [op for op in list(controller.prefetch_buffer.queue) if op is not None]
            for op in ended:
                controller.append_host_mem_release(
                    op.host_indices[op.completed_tokens :],
                    None if op.pool_transfers_done else op.pool_transfers,
                )
""",
    ),
    story=(
        "Under best_effort and timeout a request is admitted before its prefetch has read all. "
        "What is not read keeps its host slots, as the storage may still write there, until the "
        "acknowledgement with completed_req is drained (_drain_ack_prefetch). Such a prefetch is "
        "in no list that is_fully_idle asks for, so that a server that has served its requests may "
        "detach its storage while it reads. Detaching stops the threads and drains the other "
        "queues, not this one (n_ack_prefetch=0), nor what the stopped threads leave behind; "
        "attaching again makes new queues. The host is smaller by these slots from then on, until "
        "the cache is flushed. The same is in 0.5.20 and 0.5.21 (read). The patch gives back what "
        "is left when the threads have stopped."
    ),
    upstream_test="detached_prefetch.py",
)

UNCOMPUTED_TOKEN = Untraced(
    identifier="uncomputed-token",
    title="A turn of a streaming session inherits a token whose KV nobody has computed",
    targets=("sglang-unified", "sglang-unified-rust"),
    affected=("0.5.22", "0.5.23"),
    patch=SourcePatch(
        "sglang.srt.session.streaming_session",
        "        slot.kv.kv_committed_len = min(target, slot.kv.kv_allocated_len)\n",
        "        slot.kv.kv_committed_len = min(target, slot.kv.kv_committed_len)\n",
    ),
    story=(
        "With speculative decoding a request's last token has KV only once one more verify has "
        "fed it. A streaming session (--enable-streaming-session) keeps a turn's row for the next "
        "turn, and counts all tokens of the turn as committed, as far as slots are allocated "
        "(try_cache_finished_req); of those, speculative decoding allocates more than it needs. "
        "SGLang #22897 relies on the verify that is launched ahead when batches overlap. None is "
        "launched where batches do not overlap; where a turn ends by its length, since 0.5.22 "
        "(_reqs_finishing_inflight); or where the next batch is a prefill of others. The next "
        "turn then reads, at the place of the last token, what lies in the slot: its output is "
        "wrong without any error, and every turn after it reads the same. The line is in 0.5.15 "
        "to 0.5.21 too (read). The patch counts what has been committed; the last token is "
        "computed again."
    ),
    upstream_test="uncomputed_token.py",
)

UNTRACED: tuple[Untraced, ...] = (
    OVERWRITTEN_STATE,
    STALE_SOURCE,
    HELD_BY_STORAGE,
    UNBOUNDED_ANCHORS,
    SHORT_RESTORE,
    DETACHED_PREFETCH,
    UNCOMPUTED_TOKEN,
)
