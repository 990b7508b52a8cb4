"""Defects of HiRadixCache."""

from __future__ import annotations

from hicache_model.configuration import Configuration
from hicache_model.operations import (
    BeginRequest,
    CompleteLoads,
    CompleteWrites,
    EvictDevice,
    EvictHost,
    Insert,
    LoadBack,
    LockHost,
    Match,
    StartLoads,
)
from hicache_verify.catalogue.entry import Entry, NamedTrace, SourcePatch
from hicache_verify.divergence import Divergence

HIRADIX = "sglang.srt.mem_cache.hiradix_cache"
SINCE_0_5_15 = ("0.5.15", "0.5.15.post1", "0.5.16", "0.5.17", "0.5.18", "0.5.19", "0.5.20")
FROM_0_5_11_TO_0_5_14 = (
    "0.5.11",
    "0.5.12",
    "0.5.12.post1",
    "0.5.13",
    "0.5.13.post1",
    "0.5.14",
)
BEFORE_0_5_11 = ("0.5.9", "0.5.10", "0.5.10.post1")
SINCE_0_5_11 = FROM_0_5_11_TO_0_5_14 + SINCE_0_5_15


# -- #19212 ----------------------------------------------------------------------------------------


def _a_parent_is_kept_as_host_leaf(divergence: Divergence) -> bool:
    """A node on the host alone is in the kept set, and by its definition is no host leaf."""
    return divergence.kind in ("law", "state") and any(
        pair.expected is not None
        and pair.actual is not None
        and pair.actual.in_host_leaves
        and pair.actual.evicted
        and pair.actual.backed_up
        and not pair.expected.in_host_leaves
        for pair in divergence.nodes
    )


X, Y, Z = (1, 2), (1, 2, 3, 4), (1, 2, 3, 4, 5, 6)

HOST_LEAF_STATUS = Entry(
    identifier="19212",
    title="A parent of backed-up nodes is kept in evictable_host_leaves",
    references=("#19212", "#23537"),
    laws=("host-leaves",),
    write_policies=("write_back",),
    affected=BEFORE_0_5_11,
    fixed=SINCE_0_5_11,
    shown_on=("0.5.10.post1", "0.5.18"),
    traces=(
        NamedTrace(
            "four operations",
            "The shortest way: the eviction demotes a parent while its child, queued for "
            "write-back, still has its device value.",
            Configuration(),
            (Insert((1,)), EvictDevice(1), Insert((1, 2)), EvictDevice(2)),
        ),
        NamedTrace(
            "the issue's own story",
            "x, y and z go to the host; z leaves the host; x and y are loaded back and z is "
            "computed again; an eviction, then an eviction from the host.",
            Configuration(device_slots=16, host_slots=24),
            (
                Insert(X),
                Insert(Y),
                Insert(Z),
                EvictDevice(6),
                EvictHost(2),
                Match(Z),
                LoadBack(Z),
                StartLoads(),
                CompleteLoads(1),
                Insert(Z),
                EvictDevice(6),
                EvictHost(7),
            ),
        ),
    ),
    patch=SourcePatch(
        HIRADIX,
        "            if child.evicted:\n                if node in self.evictable_host_leaves:\n",
        "            if child.backuped:\n                if node in self.evictable_host_leaves:\n",
    ),
    story=(
        "The upkeep of evictable_host_leaves asks whether a child is evicted where it should ask "
        "whether it is backed up. A child that is still on the device, but backed up, does not "
        "keep its parent out of the set. When the child is evicted, nobody looks at the parent "
        "again: an eviction from the host may now take the parent first, and the child is lost "
        "with it, or the assertion 'parent does not have child key' stops the server."
    ),
    looks_like=_a_parent_is_kept_as_host_leaf,
)


# -- #27631 ----------------------------------------------------------------------------------------


def _a_load_lost_its_pages(divergence: Divergence) -> bool:
    """It happened while something was loaded back, not when a copy ended."""
    return divergence.kind in ("law", "data") and isinstance(
        divergence.operation, (LoadBack, BeginRequest)
    )


TIGHT = Configuration(device_slots=5, host_slots=7)
PREPARED = (Insert((9, 10)), Insert((1, 2, 3)), EvictDevice(5), Insert((5, 6, 7, 8)))

LOAD_BACK_LIFETIME = Entry(
    identifier="27631",
    title="Host pages are freed while they are being loaded back",
    references=("#27631", "#27562"),
    laws=("pinned-until-ack", "bytes", "no-orphan", "failed-step-changes-nothing"),
    write_policies=("write_back",),
    affected=BEFORE_0_5_11 + FROM_0_5_11_TO_0_5_14,
    fixed=SINCE_0_5_15,
    shown_on=("0.5.14", "0.5.15"),
    traces=(
        NamedTrace(
            "load back under pressure",
            "Both pools are nearly full: making room on the device writes a victim to the host, "
            "and making room there takes the pages that are about to be loaded.",
            TIGHT,
            (*PREPARED, LoadBack((1, 2, 3)), StartLoads(), CompleteLoads(1)),
        ),
        NamedTrace(
            "a request comes back",
            "The same as a server meets it: the prefix of a new request lies on the host only.",
            TIGHT,
            (*PREPARED, BeginRequest(0, (1, 2, 3, 4), 1), CompleteLoads(1)),
        ),
        NamedTrace(
            "a load that is refused",
            "Loads in flight keep two of four device slots, so that the load of three is refused. "
            "By then its eviction has written [5] to the host, over what was asked for.",
            Configuration(device_slots=4, host_slots=5),
            (
                *(Insert((1,)), Insert((2,)), EvictDevice(1), Insert((6, 7, 8))),
                *(LoadBack((1,)), LoadBack((2,)), Insert((5,)), LoadBack((6, 7, 8))),
            ),
            since="0.5.11",
        ),
    ),
    patch=SourcePatch(
        HIRADIX,
        "            self.evict(EvictParams(num_tokens=len(host_indices)))\n",
        "            [n.protect_host() for n in nodes_to_load]\n"
        "            self.evict(EvictParams(num_tokens=len(host_indices)))\n"
        "            [n.release_host() for n in nodes_to_load]\n",
    ),
    story=(
        "load_back collects the host pages of a prefix, then evicts from the device to make room. "
        "Under write_back that eviction writes its victims to the host, and where the host is full "
        "too it evicts from there: nothing protects the very pages that were just collected. They "
        "are freed, overwritten with the victim's KV, and loaded: the request reads another "
        "request's bytes, and its node is no longer in the tree."
    ),
    looks_like=_a_load_lost_its_pages,
)


# -- a full host, before 0.5.11 and after ----------------------------------------------------------


def _the_staged_victim_has_no_copy(divergence: Divergence) -> bool:
    place = divergence.place or ""
    return divergence.exception == "AssertionError" and f"{HIRADIX}:evict:" in place


PINNED = (1, 2, 3)
FULL = (Insert(PINNED), EvictDevice(3), LockHost(PINNED))

HOST_FULL_ASSERTION = Entry(
    identifier="host-full-assertion",
    title="An eviction asserts a copy for which the host had no room",
    references=(),
    laws=("no-crash",),
    write_policies=("write_back",),
    affected=BEFORE_0_5_11,
    fixed=SINCE_0_5_11,
    shown_on=("0.5.10.post1", "0.5.11"),
    traces=(
        NamedTrace(
            "another victim",
            "What the host has is pinned or on the device too. The first victim finds no room "
            "there; the second has its copy already, and can go.",
            Configuration(device_slots=4, host_slots=5),
            (
                *FULL,
                Insert((4,)),
                EvictDevice(1),
                LoadBack((4,)),
                StartLoads(),
                CompleteLoads(1),
                Insert((5, 6)),
                Match((4,)),
                EvictDevice(1),
            ),
        ),
    ),
    patch=SourcePatch(
        HIRADIX,
        "                    num_evicted += self.write_backup(x, write_back=True)\n"
        "                    write_back_nodes.append(x)\n",
        "                    written = self.write_backup(x, write_back=True)\n"
        "                    num_evicted += written\n"
        "                    if written > 0:\n"
        "                        write_back_nodes.append(x)\n",
    ),
    story=(
        "Under write_back an eviction copies its victims to the host and lets them go at its end. "
        "Where the host has no room and nothing there may leave, write_backup answers 0, and the "
        "victim is listed all the same: at the end 'assert node.backuped' stops the server."
    ),
    looks_like=_the_staged_victim_has_no_copy,
)


def _broke_its_law(divergence: Divergence) -> bool:
    """The law itself tells the shape."""
    return divergence.kind == "law"


BACKUP_BELOW_A_GAP = Entry(
    identifier="backup-below-a-gap",
    title="A node is backed up although its parent is not",
    references=(),
    laws=("backup-prefix-closed",),
    write_policies=("write_through",),
    affected=BEFORE_0_5_11,
    fixed=SINCE_0_5_11,
    shown_on=("0.5.10.post1", "0.5.11"),
    traces=(
        NamedTrace(
            "a parent too long for the host",
            "The host has two slots that are not pinned: too few for the parent, enough for its "
            "child.",
            Configuration("write_through", device_slots=7, host_slots=8),
            (
                Insert((5, 6, 7, 8, 9, 10)),
                CompleteWrites(1),
                EvictDevice(6),
                LockHost((5, 6, 7, 8, 9, 10)),
                Insert((1, 2, 3)),
                Insert((1, 2, 3, 4)),
            ),
        ),
    ),
    patch=SourcePatch(
        HIRADIX,
        "    def write_backup(self, node: TreeNode, write_back=False):\n",
        "    def write_backup(self, node: TreeNode, write_back=False):\n"
        "        if not write_back and node.parent is not self.root_node:\n"
        "            if not node.parent.backuped:\n"
        "                return 0\n",
    ),
    story=(
        "A backup that finds no room on the host is given up, and nobody remembers it: the next "
        "node below is backed up on its own. When the child is evicted, its parent counts as a "
        "device leaf, has no copy, and _evict_regular deletes it without a look at its children. "
        "The same gap was described for the Mamba tree in #22062."
    ),
    looks_like=_broke_its_law,
)

NOTHING_FREED = Entry(
    identifier="28614",
    title="An eviction frees nothing where the host is full",
    references=("#28614",),
    laws=("progress",),
    write_policies=("write_back",),
    affected=FROM_0_5_11_TO_0_5_14,
    fixed=SINCE_0_5_15,
    shown_on=("0.5.14", "0.5.15"),
    traces=(
        NamedTrace(
            "one victim",
            "What the host has is pinned, and the only victim does not fit beside it.",
            Configuration(device_slots=4, host_slots=5),
            (*FULL, Insert((4, 5, 6)), EvictDevice(1)),
        ),
    ),
    patch=None,
    story=(
        "A victim for which the host has no room is passed over since 0.5.11, and stays where it "
        "is: with no other victim the eviction frees nothing, and the allocation that asked for "
        "it fails although the device has tokens that nobody uses. Since 0.5.15 such a victim is "
        "dropped without a copy. No line alone mends it: the drop is a new way for nodes to go."
    ),
    looks_like=_broke_its_law,
)
