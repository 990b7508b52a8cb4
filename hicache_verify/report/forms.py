"""How the caches of the releases are called in plain code: facts of releases, as data.

A form is a template and what fills it for one release; ``upstream`` puts findings into it.
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from hicache_impl.sglang.releases import ALWAYS, Range
from hicache_model import operations as ops
from hicache_verify import divergence
from hicache_verify.targets import SGLANG, SGLANG_RUST, SGLANG_UNIFIED


@attrs.define(frozen=True, slots=True)
class Way:
    """In ``releases``, ``name`` is spelled ``code``."""

    name: str
    code: str
    releases: Range = ALWAYS


@attrs.define(frozen=True, slots=True)
class Form:
    """The test file of one ``cache`` and ``core``. ``root`` is the root of its tree.

    ``laws`` are those that the template states in plain code, with the helpers that they take.
    ``needs`` says what each helper is written with, ``facts`` how a fact of ``node`` is read; where
    there are none, a lookup tells of a node.
    ``lacks`` are operations without a plain call, with the reason as the beginning of a sentence.
    """

    cache: str
    root: str
    ways: tuple[Way, ...]
    laws: Mapping[str, tuple[str, ...]]
    needs: Mapping[str, tuple[str, ...]]
    facts: Mapping[str, str]
    lacks: Mapping[type, str]
    core: str = divergence.PYTHON

    def of(self, release: str) -> dict[str, str]:
        return {way.name: way.code for way in self.ways if release in way.releases}


#: Operations that are not one call, by the helper that performs them.
HELPERS: dict[type, str] = {
    ops.Match: "match",
    ops.Touch: "touch",
    ops.Insert: "insert",
    ops.LoadBack: "load_back",
    ops.Lock: "lock",
    ops.Unlock: "unlock",
    ops.LockHost: "lock_host",
    ops.UnlockHost: "unlock_host",
    ops.CompleteWrites: "complete",
    ops.CompleteLoads: "complete",
    ops.Reset: "reset",
    ops.BeginRequest: "begin",
    ops.ExtendRequest: "extend",
    ops.DecodeRequest: "decode",
    ops.FinishRequest: "finish",
    ops.AbortRequest: "abort",
    ops.RetractRequest: "retract",
}

_NODES = ("nodes", "prefix")
_LOOKUPS: dict[str, tuple[str, ...]] = {
    "match": ("key", "MatchPrefixParams"),
    "touch": ("key",),
    "insert": ("key", "InsertParams"),
    "load": ("InitLoadBackParams",),
    "load_back": ("match", "load"),
    "lock": ("match",),
    "unlock": ("prefix",),
    "lock_host": ("match",),
    "unlock_host": ("prefix",),
    "find": _NODES,
}

_WAYS = (
    Way("token_ids", "list(tokens)", Range(before="0.5.13")),
    Way("token_ids", 'array("q", tokens)', Range(since="0.5.13")),
    Way("settings", "server_args", Range(before="0.5.16")),
    Way("settings", "context", Range(since="0.5.16")),
    Way("host_free", "[pool.free_slots]", Range(before="0.5.16")),
    Way("host_free", "[pool.free_slots, *pool.release_slots]", Range(since="0.5.16")),
    Way("staged", "", Range(before="0.5.20")),
    Way("staged", "yes", Range(since="0.5.20")),
)
_INDICES = "len(answer.device_indices)"
_FACTS = {
    "evicted": "node.evicted",
    "backed_up": "node.backuped",
    "length": "len(node.key)",
    "hit_count": "node.hit_count",
    "priority": "node.priority",
}
_LAWS = {
    "host-leaves": _NODES,
    "device-leaves": _NODES,
    "sizes": ("nodes",),
    "device-prefix-closed": _NODES,
    "backup-prefix-closed": _NODES,
    "single-owner": ("nodes",),
    "free-once": ("nodes",),
    "lengths-agree": _NODES,
    "conservation": ("nodes",),
}

HIRADIX = Form(
    cache="hiradix",
    root="self.cache.root_node",
    ways=(
        *_WAYS,
        Way("matched", _INDICES),
        Way("load_from", "", Range(before="0.5.10")),
        Way("load_from", "last_host_node", Range(since="0.5.10", before="0.5.12")),
        Way("load_from", "best_match_node", Range(since="0.5.12")),
        Way("written", "self.cache.ongoing_write_through.values()", Range(before="0.5.13")),
        Way(
            "written",
            "[p[0] for p in self.cache.ongoing_write_through.values()]",
            Range(since="0.5.13"),
        ),
        Way("path", ""),
        Way("as_chunk", ", chunked=True"),
        Way("end_of_batch", ""),
        Way("salts", "", Range(before="0.5.18")),
        Way("salts", "yes", Range(since="0.5.18")),
        Way("record", "list", Range(before="0.5.13")),
        Way("record", "array", Range(since="0.5.13", before="0.5.16")),
        Way("record", "length", Range(since="0.5.16", before="0.5.19")),
        Way("record", "kv", Range(since="0.5.19")),
    ),
    laws=_LAWS
    | {
        "pinned-until-ack": _NODES,
        "no-orphan": ("nodes",),
        "bytes": (*_NODES, "content"),
    },
    needs=_LOOKUPS
    | {
        "begin": ("match", "load", "compute"),
        "extend": ("give", "compute"),
        "compute": ("allocate", "record", "give"),
        "decode": ("allocate", "record"),
        "finish": ("end",),
        "retract": ("end",),
        "abort": ("finish", "retract"),
    },
    facts=_FACTS
    | {
        "lock_ref": "node.lock_ref",
        "host_lock": "node.host_ref_counter",
        "in_device_leaves": "node in self.cache.evictable_leaves",
        "in_host_leaves": "node in self.cache.evictable_host_leaves",
    },
    lacks={
        ops.StartWrites: "HiRadixCache queues no writes that could be started",
        ops.RetractToHost: "HiRadixCache keeps nothing of a retracted request on the host",
        ops.ResumeRequest: "HiRadixCache keeps nothing of a retracted request on the host",
        ops.Touch: "HiRadixCache's scheduler touches no prefixes of waiting requests",
    },
)

_IN_CACHE, _IN_CORE = Range(before="0.5.17"), Range(since="0.5.17")
_SINCE_22, _BEFORE_22 = Range(since="0.5.22"), Range(before="0.5.22")
_RETRACTION: dict[type, str] = dict.fromkeys(
    (ops.RetractToHost, ops.ResumeRequest),
    "What a retraction keeps on the host has no form in plain calls",
)

UNIFIED = Form(
    cache="unified",
    root="self.tree.root_node",
    ways=(
        *_WAYS,
        Way("matched", _INDICES, Range(before="0.5.22")),
        Way("matched", "answer.device_prefix_len", Range(since="0.5.22")),
        Way("loaded", "len(loaded)", Range(before="0.5.22")),
        Way("loaded", "loaded", Range(since="0.5.22")),
        Way("components", "unified_cache_components", _IN_CACHE),
        Way("components", "unified_cache.components", _IN_CORE),
        Way("tree", "self.cache", _IN_CACHE),
        Way("tree", "self.cache.tree_core", _IN_CORE),
        Way("node", "handle", _IN_CACHE),
        Way("node", "self.tree.node_by_id(handle)", _IN_CORE),
        Way("core", "", _IN_CACHE),
        Way("core", "variable", Range(since="0.5.17", before="0.5.21")),
        Way("core", "parameter", Range(since="0.5.21")),
        Way("counted", "chunked=chunked", _BEFORE_22),
        Way("counted", "inserted_len=len(tokens) if chunked else 0", _SINCE_22),
        Way("path", "", _BEFORE_22),
        Way("path", "self.cache.path_device_indices(node)", _SINCE_22),
        Way("as_chunk", ", chunked=True", _BEFORE_22),
        Way("as_chunk", "", _SINCE_22),
        Way("record", "list", Range(before="0.5.13")),
        Way("record", "array", Range(since="0.5.13", before="0.5.16")),
        Way("record", "length", Range(since="0.5.16", before="0.5.21")),
        Way("record", "insert", Range(since="0.5.21", before="0.5.22")),
        Way("record", "checkpoint", _SINCE_22),
        Way("windows", "", Range(before="0.5.19")),
        Way("windows", "swa_evicted_seqlen", Range(since="0.5.19", before="0.5.21")),
        Way("windows", "", Range(since="0.5.21")),
        Way("lock", "uuid", Range(before="0.5.20")),
        Way("lock", "receipt", Range(since="0.5.20", before="0.5.22")),
        Way("lock", "lock", _SINCE_22),
        Way("end_of_batch", "", Range(before="0.5.21")),
        Way("end_of_batch", "self.cache.flush_pending_backups()", Range(since="0.5.21")),
    ),
    laws=_LAWS
    | {
        "pinned-until-ack": (*_NODES, "node"),
        "single-owner": ("nodes", "node"),
        "free-once": ("nodes", "node"),
    },
    needs=_LOOKUPS
    | {
        "lock": ("match", "node"),
        "lock_host": ("match", "node"),
        "begin": ("match", "load", "compute"),
        "extend": ("give", "compute"),
        "compute": ("allocate", "record", "give"),
        "decode": ("allocate", "record"),
        "finish": ("end",),
        "retract": ("end",),
        "abort": ("finish", "retract"),
    },
    facts=_FACTS
    | {
        "lock_ref": "node.component_data[FULL].lock_ref",
        "host_lock": "node.component_data[FULL].host_lock_ref",
        "in_device_leaves": "node in self.tree.evictable_device_leaves",
        "in_host_leaves": "node in self.tree.evictable_host_leaves",
    },
    lacks=_RETRACTION,
)

RUST = attrs.evolve(
    UNIFIED,
    core=divergence.RUST,
    laws={},
    facts={},
    lacks=_RETRACTION
    | dict.fromkeys(
        (ops.Lock, ops.Unlock, ops.LockHost, ops.UnlockHost),
        "The Rust core shows no nodes that could be held by name",
    ),
)

FORMS: Mapping[str, Form] = {SGLANG: HIRADIX, SGLANG_UNIFIED: UNIFIED, SGLANG_RUST: RUST}
"""By the target's name in a trace."""
