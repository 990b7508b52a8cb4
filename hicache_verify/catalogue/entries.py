"""The entries, in the order of their public numbers."""

from __future__ import annotations

from collections.abc import Sequence

from hicache_model.configuration import Configuration
from hicache_model.operations import (
    BeginRequest,
    CompleteLoads,
    EvictDevice,
    EvictHost,
    Insert,
    LoadBack,
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
    fixed=FROM_0_5_11_TO_0_5_14 + SINCE_0_5_15,
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
    laws=("pinned-until-ack", "bytes", "no-orphan"),
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


ENTRIES: tuple[Entry, ...] = (HOST_LEAF_STATUS, LOAD_BACK_LIFETIME)


class UnknownEntry(LookupError):
    """The catalogue has no such entry."""

    def __str__(self) -> str:
        return str(self.args[0])


def find(identifiers: Sequence[str]) -> tuple[Entry, ...]:
    """The entries with these identifiers (``19212`` or ``#19212``); UnknownEntry for another."""
    known = {entry.identifier: entry for entry in ENTRIES}
    found: dict[str, Entry] = {}
    for identifier in identifiers:
        number = identifier.removeprefix("#")
        if number not in known:
            raise UnknownEntry(
                f"no entry {identifier!r:.60} in the catalogue; it has {', '.join(known)}"
            )
        found[number] = known[number]
    return tuple(found.values())
