"""What a finding is in plain calls on a release's own classes: facts of releases, and statements.

The template puts them together. What has no form in plain calls is named, never left out quietly.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import attrs

from hicache_impl.sglang.namespaces import parts_of
from hicache_impl.sglang.releases import ALWAYS, Range
from hicache_model import operations as ops
from hicache_model.operations import Operation
from hicache_verify.divergence import Divergence
from hicache_verify.report.code import Code, Group, integers, layout, quoted
from hicache_verify.trace import Trace

# -- what differs between releases -----------------------------------------------------------------


@attrs.define(frozen=True, slots=True)
class Way:
    """In ``releases``, ``name`` is spelled ``code``."""

    name: str
    code: str
    releases: Range = ALWAYS


WAYS = (
    Way("token_ids", "list(tokens)", Range(before="0.5.13")),
    Way("token_ids", 'array("q", tokens)', Range(since="0.5.13")),
    Way("load_from", "", Range(before="0.5.10")),
    Way("load_from", "last_host_node", Range(since="0.5.10", before="0.5.12")),
    Way("load_from", "best_match_node", Range(since="0.5.12")),
    Way("written", "self.cache.ongoing_write_through.values()", Range(before="0.5.13")),
    Way(
        "written",
        "[p[0] for p in self.cache.ongoing_write_through.values()]",
        Range(since="0.5.13"),
    ),
    Way("settings", "", Range(before="0.5.18")),
    Way("settings", "hiradix_cache.get_memory", Range(since="0.5.18", before="0.5.19")),
    Way(
        "settings",
        "hiradix_cache.get_memory hiradix_cache.get_observability hiradix_cache.get_serving "
        "pool_host.common.get_memory",
        Range(since="0.5.19"),
    ),
    Way("host_free", "[pool.free_slots]", Range(before="0.5.16")),
    Way("host_free", "[pool.free_slots, *pool.release_slots]", Range(since="0.5.16")),
    Way("eviction_asks", "count", Range(before="0.5.17")),
    Way("eviction_asks", "count - free", Range(since="0.5.17")),
    Way("requests", "yes", Range(before="0.5.20")),
)


def ways(release: str) -> dict[str, str]:
    return {way.name: way.code for way in WAYS if release in way.releases}


# -- what is needed for what -----------------------------------------------------------------------

#: Operations that are not one call, by the helper that performs them.
HELPERS: dict[type, str] = {
    ops.Match: "match",
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

#: The laws that the template states in plain code, with the helpers that they take.
LAWS: dict[str, tuple[str, ...]] = {
    "host-leaves": ("nodes", "prefix"),
    "device-leaves": ("nodes", "prefix"),
    "pinned-until-ack": ("nodes", "prefix"),
    "no-orphan": ("nodes",),
    "sizes": ("nodes",),
    "device-prefix-closed": ("nodes", "prefix"),
    "backup-prefix-closed": ("nodes", "prefix"),
    "single-owner": ("nodes",),
    "conservation": ("nodes",),
    "bytes": ("nodes", "prefix", "content"),
}

#: What each helper is written with.
NEEDS: dict[str, tuple[str, ...]] = {
    "match": ("key", "MatchPrefixParams"),
    "insert": ("key", "InsertParams"),
    "load": ("InitLoadBackParams",),
    "load_back": ("match", "load"),
    "lock": ("match",),
    "unlock": ("prefix",),
    "lock_host": ("match",),
    "unlock_host": ("prefix",),
    "begin": ("match", "load", "compute"),
    "extend": ("give", "compute"),
    "compute": ("allocate", "give"),
    "give": ("match", "key", "InsertParams"),
    "decode": ("allocate",),
    "finish": ("key", "InsertParams"),
    "abort": ("finish", "retract"),
    "allocate": ("EvictParams",),
}


def closure(names: Iterable[str]) -> frozenset[str]:
    """The names, and everything that they need."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += NEEDS.get(name, ())
    return frozenset(found)


# -- one finding -----------------------------------------------------------------------------------


@attrs.define(frozen=True, slots=True)
class Plan:
    """What the template writes: statements, comments after them, the law at the end, helpers."""

    statements: tuple[str, ...]
    comments: tuple[str, ...]
    law: str
    used: frozenset[str]
    ways: dict[str, str]


def plan(trace: Trace, divergence: Divergence | None) -> Plan:
    known = ways(trace.release)
    performed, law = trace.operations, divergence.law if divergence else ""
    unsaid = _unsayable(trace, known)
    if unsaid is not None:
        performed, comment, law = performed[: unsaid[0]], unsaid[1], ""
    else:
        comment, law = _about_the_law(divergence), law if law in LAWS else ""
    names = {HELPERS[type(op)] for op in performed if type(op) in HELPERS}
    if any(isinstance(op, ops.EvictDevice) for op in performed):
        names.add("EvictParams")
    used = closure(names.union(LAWS.get(law, ())))
    if not known["load_from"]:
        used -= {"InitLoadBackParams"}
    comments = (comment,) if comment else ()
    return Plan(tuple(map(statement, performed)), comments, law, used, known)


def _unsayable(trace: Trace, known: dict[str, str]) -> tuple[int, str] | None:
    """The first operation without a form in plain calls, and why there is none."""
    for index, op in enumerate(trace.operations):
        what = _formless(op, trace, known)
        if what is not None:
            return index, (
                f"{what}: this test stops before operation {index + 1} of "
                f"{len(trace.operations)}. The replay form has them all."
            )
    return None


def _formless(op: Operation, trace: Trace, known: dict[str, str]) -> str | None:
    """Why an operation cannot be said here, as the beginning of a sentence."""
    if parts_of(getattr(op, "namespace", None), trace.release).cache_salt is not None:
        return "A cache_salt has no form in plain calls"
    if isinstance(op, ops.StartWrites):
        return "HiRadixCache queues no writes that could be started"
    if not isinstance(op, ops.REQUEST_OPERATIONS):
        return None
    if "requests" not in known:
        return "Requests have no form in plain calls with this release"
    if trace.configuration.page_size > 1:
        return "Requests have no form in plain calls with pages of several tokens"
    return None


def _about_the_law(divergence: Divergence | None) -> str:
    """What the statements alone do not tell."""
    if divergence is None or divergence.law in LAWS:
        return ""
    if divergence.kind == "crash":
        return f"The last call raised {divergence.exception} where this was found."
    return (
        f"What broke here ({divergence.law}) is judged against hicache-verify's model: it has no "
        "form in plain calls, and this test only performs them."
    )


def statement(op: Operation) -> str:
    """One call, indented for a method's body."""
    return layout(_call(op), 8)


def _call(op: Operation) -> Code:
    if isinstance(op, ops.EvictDevice):
        return Group("self.cache.evict", (f"EvictParams(num_tokens={op.count})",))
    if isinstance(op, ops.EvictHost):
        return Group("self.cache.evict_host", (str(op.count),))
    if isinstance(op, ops.StartLoads):
        return "self.cache.ready_to_load_host_cache()"
    if isinstance(op, ops.CompleteWrites):
        return Group("self.complete", ("self.controller.ack_write_queue", str(op.count)))
    if isinstance(op, ops.CompleteLoads):
        return Group("self.complete", ("self.controller.ack_load_queue", str(op.count)))
    return Group(f"self.{HELPERS[type(op)]}", tuple(_arguments(op)))


def _arguments(op: Operation) -> Iterator[Code]:
    for field in attrs.fields(type(op)):
        value = getattr(op, field.name)
        if field.name == "tokens":
            yield integers(value)
        elif field.default is attrs.NOTHING:
            yield f"chunk={value}" if field.name == "chunk" else str(value)
        elif value != field.default:
            shown = quoted(value) if isinstance(value, str) else repr(value)
            yield f"{field.name}={shown}"
