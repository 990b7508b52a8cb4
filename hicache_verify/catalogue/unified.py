"""Defects of UnifiedRadixCache."""

from __future__ import annotations

import attrs

from hicache_model.configuration import Configuration
from hicache_model.operations import (
    BeginRequest,
    CompleteWrites,
    EvictDevice,
    EvictHost,
    ExtendRequest,
    FinishRequest,
    Insert,
    LoadBack,
    LockHost,
    Match,
    RetractRequest,
)
from hicache_verify.catalogue.entry import Entry, NamedTrace, SourcePatch
from hicache_verify.divergence import Divergence

UNIFIED = "sglang.srt.mem_cache.unified_radix_cache"
CORE = "sglang.srt.mem_cache.unified_cache.unified_tree_core"
FULL = "sglang.srt.mem_cache.unified_cache_components.full_component"
ANY_POLICY = ("write_back", "write_through", "write_through_selective")
IN_0_5_12 = ("0.5.12", "0.5.12.post1")
IN_0_5_13 = ("0.5.13", "0.5.13.post1")
FROM_0_5_14_TO_0_5_16 = ("0.5.14", "0.5.15", "0.5.15.post1", "0.5.16")
BEFORE_0_5_17 = IN_0_5_13 + FROM_0_5_14_TO_0_5_16
FROM_0_5_17_TO_0_5_19 = ("0.5.17", "0.5.18", "0.5.19")
SINCE_0_5_21 = ("0.5.21", "0.5.22", "0.5.23")
SINCE_0_5_20 = ("0.5.20", *SINCE_0_5_21)
SINCE_0_5_13 = BEFORE_0_5_17 + FROM_0_5_17_TO_0_5_19 + SINCE_0_5_20


def _broke_its_law(divergence: Divergence) -> bool:
    """The law itself tells the shape."""
    return divergence.kind == "law"


def _had_a_quota(divergence: Divergence) -> bool:
    op = divergence.operation
    return isinstance(op, LoadBack) and op.quota is not None


NOTHING_FREED = Entry(
    identifier="27108",
    title="An eviction frees nothing where the host is full",
    references=("#27108", "#27865"),
    laws=("progress",),
    write_policies=("write_back",),
    affected=BEFORE_0_5_17,
    fixed=FROM_0_5_17_TO_0_5_19 + SINCE_0_5_20,
    shown_on=("0.5.16", "0.5.17"),
    traces=(
        NamedTrace(
            "one victim",
            "What the host has is pinned, and the only victim does not fit beside it. Where the "
            "host may be smaller than the device (0.5.15), insert and evict are enough.",
            Configuration(device_slots=4, host_slots=5),
            (
                Insert((1, 2, 3)),
                EvictDevice(3),
                LockHost((1, 2, 3)),
                Insert((4, 5, 6)),
                EvictDevice(1),
            ),
        ),
    ),
    patch=None,
    story=(
        "Up to 0.5.12 a victim for which the host has no room was taken for one that is backed "
        "up. #27108 made _evict_device_leaf return there, so that the node would be dropped, but "
        "nothing drops it: it stays on the device, the eviction frees nothing, and the allocation "
        "that asked for it fails although the device has tokens that nobody uses. Since 0.5.17 "
        "drop_subtree_no_host lets it go without a copy. No line alone mends it."
    ),
    looks_like=_broke_its_law,
    target="sglang-unified",
)

QUOTA_SIGN = Entry(
    identifier="38481",
    title="What a load back locks is added to its quota",
    references=("#38481",),
    laws=("within-quota", "transition"),
    write_policies=ANY_POLICY,
    affected=IN_0_5_12 + BEFORE_0_5_17 + FROM_0_5_17_TO_0_5_19,
    fixed=SINCE_0_5_20,
    shown_on=("0.5.19", "0.5.20"),
    traces=(
        NamedTrace(
            "a quota of nothing",
            "The token above the one to be loaded is on the device and unlocked: locking it gives "
            "the load one token of quota, where it should take one away.",
            Configuration("write_through", device_slots=4, host_slots=5),
            (
                *(BeginRequest(0, (1, 2), 2), FinishRequest(0), CompleteWrites(1)),
                *(EvictDevice(1), Insert((1,)), LoadBack((1, 2), quota=0)),
            ),
        ),
    ),
    patch=SourcePatch(
        UNIFIED,
        "mem_quota is not None and kv_tokens > mem_quota + result.delta\n",
        "mem_quota is not None and kv_tokens + result.delta > mem_quota\n",
    ),
    story=(
        "Before a load back its anchor is locked, and what was evictable above it is no longer to "
        "be had for the request: it has to come out of the quota. HiRadixCache counts it with a "
        "negative sign and adds it; UnifiedRadixCache counts it with a positive one and adds it "
        "too, so the load may take more than its caller allowed. A caller that gives no quota, as "
        "the scheduler does, is not affected. Where the load then finds no room, what was evicted "
        "for it is all that shows."
    ),
    looks_like=_had_a_quota,
    target="sglang-unified",
)


# -- 0.5.12, the first with a host tier ------------------------------------------------------------

UNFINISHED_EVICTION = Entry(
    identifier="24585",
    title="An eviction gives slots away before they are copied",
    references=("#24585", "#24869"),
    laws=("pinned-until-ack", "lock-balance"),
    write_policies=("write_back",),
    affected=IN_0_5_12,
    fixed=SINCE_0_5_13,
    shown_on=("0.5.12", "0.5.13"),
    traces=(
        NamedTrace(
            "two operations",
            "The victim's device slot is free while its copy to the host is under way.",
            Configuration(device_slots=2, host_slots=3),
            (Insert((1,)), EvictDevice(1)),
        ),
    ),
    patch=SourcePatch(
        UNIFIED,
        "                self.write_backup(node, write_back=True)\n"
        "                self._evict_to_host(node, tracker)\n",
        "                self.write_backup(node, write_back=True)\n"
        "                self.writing_check(write_back=True)\n"
        "                self._evict_to_host(node, tracker)\n",
    ),
    story=(
        "Under write_back an eviction starts the copy of its victim, takes no lock, and frees the "
        "victim's slots at once: who gets them may write before they were read. The next poll of "
        "the writes then unlocks what was never locked, and 'assert cd.value is not None' stops "
        "the server: no process gets beyond its first eviction."
    ),
    looks_like=_broke_its_law,
    target="sglang-unified",
)

HITS_COUNTED_TWICE = Entry(
    identifier="host-hit-of-what-is-on-the-device",
    title="A lookup reports a host hit for what it found on the device",
    references=(),
    laws=("answer",),
    write_policies=("write_through_selective",),
    affected=IN_0_5_12,
    fixed=SINCE_0_5_13,
    shown_on=("0.5.12", "0.5.13"),
    traces=(
        NamedTrace(
            "three operations",
            "The second insert backs [1] up and leaves its child for a second use.",
            Configuration("write_through_selective", device_slots=4, host_slots=5),
            (Insert((1,)), Insert((1, 2)), Match((1, 2))),
        ),
    ),
    patch=SourcePatch(
        FULL,
        "        node = result.last_host_node\n",
        "        node = result.best_match_node\n",
    ),
    story=(
        "The length on the host is added up from the last node that is backed up, until the walk "
        "meets the last node on the device. Where the match ends in a node on the device that is "
        "not backed up, the walk begins above that node and never meets it: everything up to the "
        "root counts as a host hit, a second time. The scheduler asks for a load back that has "
        "nothing to load."
    ),
    looks_like=lambda divergence: isinstance(divergence.operation, Match),
    target="sglang-unified",
)


# -- load back -------------------------------------------------------------------------------------


def _a_load_lost_its_pages(divergence: Divergence) -> bool:
    """It happened while something was loaded back."""
    return isinstance(divergence.operation, (LoadBack, BeginRequest))


PRESSED = (Insert((1, 2, 3)), EvictDevice(3), Insert((4, 5)))

LOAD_BACK_LIFETIME = Entry(
    identifier="27444",
    title="Host pages are freed while they are being loaded back",
    references=("#27444", "#26728", "#27108"),
    laws=("no-crash", "failed-step-changes-nothing", "pinned-until-ack"),
    write_policies=("write_back",),
    affected=IN_0_5_13,
    fixed=FROM_0_5_14_TO_0_5_16 + FROM_0_5_17_TO_0_5_19 + SINCE_0_5_20,
    shown_on=("0.5.13", "0.5.14"),
    traces=(
        NamedTrace(
            "load back under pressure",
            "Making room on the device writes a victim to the host; making room there takes the "
            "pages that are about to be loaded.",
            Configuration(device_slots=3, host_slots=4),
            (*PRESSED, LoadBack((1, 2, 3))),
        ),
        NamedTrace(
            "a request comes back",
            "The same as a server meets it: the prefix of a new request lies on the host only.",
            Configuration(device_slots=4, host_slots=5),
            (
                *(Insert((1, 2, 3)), EvictDevice(3), Insert((4, 5, 6))),
                BeginRequest(0, (1, 2, 3, 7), 1),
            ),
        ),
    ),
    patch=SourcePatch(
        UNIFIED,
        "            result = self.evict(EvictParams(num_tokens=needed))\n",
        "            pin = self.inc_host_lock_ref(best_match_node).to_dec_params()\n"
        "            result = self.evict(EvictParams(num_tokens=needed))\n"
        "            self.dec_host_lock_ref(best_match_node, pin)\n",
    ),
    story=(
        "What #27631 is in HiRadixCache: load_back collects the host slots of a prefix, locks the "
        "nodes above it, and evicts to make room. The eviction writes its victims to the host, "
        "where only host locks protect, and nobody has taken one: the node that is being loaded "
        "is a host leaf like any other. It leaves the tree, and 'NoneType has no len()' stops the "
        "server, or a refused load back has lost its prefix. 0.5.12 does the same, behind #24585."
    ),
    looks_like=_a_load_lost_its_pages,
    target="sglang-unified",
)


# -- tolerated by the model elsewhere --------------------------------------------------------------

CHUNKS_NOT_BACKED_UP = Entry(
    identifier="39444",
    title="The chunks of a prompt are not backed up under write_through",
    references=("#39444", "#33714"),
    laws=("promised-backup",),
    write_policies=("write_through",),
    affected=IN_0_5_12 + BEFORE_0_5_17 + FROM_0_5_17_TO_0_5_19 + ("0.5.20", "0.5.21"),
    fixed=("0.5.22", "0.5.23"),
    shown_on=("0.5.21", "0.5.22"),
    traces=(
        NamedTrace(
            "a prompt in chunks",
            "The first chunk is in the tree when the second begins. Whoever comes back after the "
            "request was retracted and the chunk evicted finds nothing.",
            Configuration("write_through", device_slots=4, host_slots=5),
            (
                BeginRequest(0, (1, 2, 3), 1),
                ExtendRequest(0, 1),
                RetractRequest(0),
                EvictDevice(1),
            ),
        ),
    ),
    patch=None,
    story=(
        "An insert that is a chunk counts no hits, so that one request does not count as many; "
        "but hits are also what decides on a backup. What is computed chunk by chunk has no host "
        "copy until its prompt is complete, and none at all when the request ends before. Since "
        "0.5.22 an insert knows how much of it has counted before, and chunks count once. In "
        "campaigns this is the dialect request_counts; here it is judged by its law."
    ),
    looks_like=_broke_its_law,
    target="sglang-unified",
    strict=(("request_counts", "each_node_once"),),
)

REFRESH = "        child.last_access_time = get_and_increase_time_counter()\n"
SUFFIX = NamedTrace(
    "the wrong victim",
    "Of the node [1, 2, 3, 4] only the first token is asked for again. The other three were used "
    "before [5, 6, 7], and outlive it.",
    Configuration("write_through_selective", device_slots=8, host_slots=9),
    (Insert((1, 2, 3, 4)), Insert((5, 6, 7)), Match((1,)), EvictDevice(1)),
)
SUFFIX_STORY = (
    "A lookup that ends inside a node splits it, and gives the half behind its end a new access "
    "time, although nobody asked for that: it counts as used later than what was really used, and "
    "something else is evicted in its place. Since 0.5.20 the comment beside it says that the half "
    "keeps its time. It is the order of eviction only, so campaigns tolerate it as the dialect "
    "split_refreshes; here it is judged."
)

SUFFIX_REFRESHED = Entry(
    identifier="split-refreshes-the-suffix",
    title="A split refreshes the half that nobody asked for",
    references=(),
    laws=("policy-order",),
    write_policies=ANY_POLICY,
    affected=IN_0_5_12 + SINCE_0_5_13,
    fixed=(),
    shown_on=("0.5.23",),
    traces=(SUFFIX,),
    patch=SourcePatch(CORE, REFRESH, ""),
    earlier_patches=(("0.5.16", SourcePatch(UNIFIED, REFRESH, "")),),
    story=SUFFIX_STORY,
    looks_like=_broke_its_law,
    target="sglang-unified",
    strict=(("split_refreshes", "neither_half"),),
)

KV_TOKENS = "        kv_tokens = len(device_value)\n"
TOO_LONG = (
    KV_TOKENS + "        if kv_tokens > self.cache_controller.mem_pool_host.anchor_entry"
    ".host_pool.size:\n            return "
)

BACKUP_IN_VAIN = Entry(
    identifier="backup-in-vain",
    title="A backup that finds no room has emptied the host before",
    references=(),
    laws=("transition",),
    write_policies=("write_through", "write_through_selective", "write_back"),
    affected=("0.5.15", "0.5.15.post1", "0.5.16", *FROM_0_5_17_TO_0_5_19, *SINCE_0_5_20),
    fixed=(),
    shown_on=("0.5.23",),
    traces=(
        NamedTrace(
            "longer than the host",
            "The host has four slots and the only copy of [1, 2]. Five tokens are inserted, and "
            "it is gone.",
            Configuration("write_through", device_slots=8, host_slots=4),
            (
                *(BeginRequest(0, (1, 2), 2), FinishRequest(0), CompleteWrites(1)),
                *(EvictDevice(2), Insert((3, 4, 5, 6, 7))),
            ),
        ),
        NamedTrace(
            "under write_back",
            "The five tokens that are due on the device do not fit on the host, and the copy of "
            "[1, 2] goes for them. 0.5.16 and before keep the five (#27108), and give [8] up.",
            Configuration(device_slots=8, host_slots=4),
            (
                *(Insert((1, 2)), EvictDevice(2)),
                *(Insert((3, 4, 5, 6, 7)), Insert((8,)), EvictDevice(1)),
            ),
        ),
    ),
    patch=SourcePatch(UNIFIED, KV_TOKENS, TOO_LONG + "None\n"),
    earlier_patches=(("0.5.16", SourcePatch(UNIFIED, KV_TOKENS, TOO_LONG + "0\n")),),
    story=(
        "A backup asks the host for the slots that are missing. Eviction takes leaf after leaf, "
        "and only at its end is it seen that they are too few: the backup is given up, what was "
        "evicted for it is lost, and the next backup of that length does the same. It takes a node "
        "longer than the host, or a host whose other slots cannot go: pinned ones, and under "
        "write_through the copies of all that is on the device too. So it shows where the host is "
        "not larger than the device, which releases allow since 0.5.15; HiRadixCache and the Rust "
        "core do the same. The patch mends only the first of the two. In campaigns this is the "
        "dialect backup_without_room; here it is judged."
    ),
    looks_like=_broke_its_law,
    target="sglang-unified",
    strict=(("backup_without_room", "evicts_nothing"),),
)


# -- the Rust core ---------------------------------------------------------------------------------

RUST_SUFFIX_REFRESHED = Entry(
    identifier="split-refreshes-the-suffix-rust",
    title="A split refreshes the half that nobody asked for, in the Rust core too",
    references=(),
    laws=("transition",),
    write_policies=ANY_POLICY,
    affected=SINCE_0_5_20,
    fixed=(),
    shown_on=("0.5.23",),
    traces=(SUFFIX,),
    patch=None,
    story=SUFFIX_STORY + " The Rust core shows no times, but the victim tells.",
    looks_like=_broke_its_law,
    target="sglang-unified-rust",
    strict=(("split_refreshes", "neither_half"),),
)

CHAIN = (Insert((1,)), Insert((1, 2)), Insert((1, 2, 3)), Insert((1, 2, 3, 4)))

RECLAIM_ORDER = Entry(
    identifier="rust-reclaim-order",
    title="A host copy is reclaimed out of turn",
    references=(),
    laws=("transition",),
    write_policies=("write_back",),
    affected=("0.5.20",),
    fixed=SINCE_0_5_21,
    shown_on=("0.5.20", "0.5.21"),
    traces=(
        NamedTrace(
            "the second to go",
            "Four nodes are on both tiers, the deepest first in the queue and last resort as a "
            "device leaf. Its parent goes first; then the grandparent is due, and the root's child "
            "goes.",
            Configuration(device_slots=7, host_slots=4),
            (*CHAIN, EvictDevice(4), Insert((1, 2, 3, 4)), EvictHost(1), EvictHost(1)),
        ),
    ),
    patch=None,
    story=(
        "Under write_back, host memory is made free first from the copies of nodes that are on "
        "the device too, in the order in which they became such: so the Python core of the same "
        "release, and the Rust core since 0.5.21. The Rust core of 0.5.20 behaves as if it took "
        "an entry out of its queue by moving the last one into the gap: of 1, 2, 3, 4 it reclaims "
        "1, then 4, 3 and 2. Where nodes differ in length, it frees more or less than the Python "
        "core. The Rust core of 0.5.19 cannot be driven: asked for a node that has left, it fails "
        "for good."
    ),
    looks_like=lambda divergence: isinstance(divergence.operation, (EvictHost, EvictDevice)),
    target="sglang-unified-rust",
)


# -- sliding windows -------------------------------------------------------------------------------


def _came_short(divergence: Divergence) -> bool:
    """An eviction that freed too little, or a load back that was refused for it."""
    if divergence.kind == "law":
        return divergence.law != "answer"
    return isinstance(divergence.operation, (LoadBack, BeginRequest))


SHORT_WINDOW = Entry(
    identifier="short-window",
    title="A request gives up a part of its window before it inserts",
    references=(),
    laws=("single-owner",),
    write_policies=ANY_POLICY,
    affected=("0.5.21", "0.5.22"),
    fixed=("0.5.23",),
    shown_on=("0.5.22", "0.5.23"),
    traces=(
        NamedTrace(
            "one request",
            "Ten tokens, pages of four, a window of five: the window's first page is given up, and "
            "eight tokens are inserted, of which only four have the window's KV.",
            Configuration(
                page_size=4,
                device_slots=16,
                host_slots=20,
                component="swa",
                window=5,
                component_slots=16,
            ),
            (BeginRequest(0, (1, 2, 3, 4, 5, 6, 7, 8, 9, 10), 10),),
        ),
    ),
    patch=SourcePatch(
        "sglang.srt.mem_cache.common",
        "evict_threshold = pre_len - max(sliding_window_size, page_size)\n",
        "evict_threshold = pre_len - -(-max(sliding_window_size, page_size) // page_size) "
        "* page_size\n",
    ),
    story=(
        "Before it inserts what it has computed, a request gives back the KV of its window that it "
        "will not read again: what lies a window before its next token, cut at a page. The insert "
        "ends at a page too, up to a page earlier, so it may end with less than a window. The "
        "lookup that follows the insert then stops short, and the request takes no note of what "
        "it gave to the tree: tree and request own the same slots. When it finishes, an assertion "
        "ends the server (new_prefix_len <= len(new_indices)); when it is retracted, slots of the "
        "tree are freed. A window in whole pages, or one token less, never shows it. 0.5.23 keeps "
        "whole pages."
    ),
    looks_like=_broke_its_law,
    target="sglang-unified",
    strict=(("window_kept", "whole_pages"),),
    tolerated=False,
    upstream_test="short_window.py",
)

UNAWAITED_WINDOW = Entry(
    identifier="unawaited-window",
    title="An eviction comes short of windows that it only has to wait for",
    references=(),
    laws=("component-progress", "progress", "answer"),
    write_policies=("write_back",),
    affected=("0.5.21", "0.5.22"),
    fixed=("0.5.23",),
    shown_on=("0.5.22", "0.5.23"),
    traces=(
        NamedTrace(
            "a tombstone is filled",
            "The tombstone [1] gets a window from an insert, whose write locks it. The eviction "
            "passes it, waits for the write when all is chosen, and reports less than it could.",
            Configuration(
                device_slots=5,
                host_slots=1,
                copies="early",
                component="swa",
                window=3,
                component_slots=4,
            ),
            (
                Insert((1, 2, 3, 4)),
                EvictDevice(1, "swa"),
                EvictHost(1, "swa"),
                Insert((1,)),
                EvictDevice(4, "swa"),
            ),
        ),
    ),
    patch=None,
    story=(
        "Under write_back an insert that fills the window of a node whose full KV is backed up "
        "queues a write of the window, which locks the path. An eviction passes locked nodes, and "
        "waits for the write only at its end: it frees less than asked, and the allocation or the "
        "load back that asked fails although nobody uses the memory. In 0.5.21 the ancestors "
        "without a copy are written too. 0.5.23 writes no window then."
    ),
    looks_like=_came_short,
    target="sglang-unified",
    upstream_test="unawaited_window.py",
)


def _came_short_in_rust(divergence: Divergence) -> bool:
    """Without locks to see, the model alone says that there was more to free."""
    return isinstance(divergence.operation, (EvictDevice, LoadBack, BeginRequest))


RUST_SHORT_WINDOW = attrs.evolve(
    SHORT_WINDOW,
    identifier="short-window-rust",
    title="A request gives up a part of its window before it inserts, with the Rust core too",
    target="sglang-unified-rust",
)

RUST_UNAWAITED_WINDOW = attrs.evolve(
    UNAWAITED_WINDOW,
    identifier="unawaited-window-rust",
    title="An eviction of the Rust core comes short of windows that it only has to wait for",
    laws=("answer",),
    looks_like=_came_short_in_rust,
    target="sglang-unified-rust",
)
