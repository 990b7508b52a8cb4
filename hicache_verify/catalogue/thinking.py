"""What servers with --strip-thinking-cache do wrong."""

from __future__ import annotations

import attrs

from hicache_model.configuration import Configuration
from hicache_model.operations import (
    AbortRequest,
    BeginRequest,
    DecodeRequest,
    FinishRequest,
    ResumeRequest,
    RetractRequest,
    RetractToHost,
)
from hicache_verify.catalogue.entry import Entry, NamedTrace, SourcePatch
from hicache_verify.divergence import Divergence

COMMON = "sglang.srt.mem_cache.common"
AGAIN = BeginRequest(0, (1, 2), 2, outputs=1)
SMALL = Configuration(device_slots=2, host_slots=3, strip_thinking=True)
WITHOUT_HOST = (
    NamedTrace(
        "it finishes",
        "The request has thought [2] before it was retracted, and computes it anew.",
        SMALL,
        (AGAIN, FinishRequest(0)),
    ),
    NamedTrace(
        "it is retracted again",
        "The tree's own slot of [1, 2] is freed.",
        SMALL,
        (AGAIN, RetractRequest(0)),
    ),
)

IN_0_5_11 = ("0.5.11",)
FROM_0_5_12_TO_0_5_18 = (
    "0.5.12",
    "0.5.12.post1",
    "0.5.13",
    "0.5.13.post1",
    "0.5.14",
    "0.5.15",
    "0.5.15.post1",
    "0.5.16",
    "0.5.17",
    "0.5.18",
)
IN_0_5_19_AND_0_5_20 = ("0.5.19", "0.5.20")


def _gave_back(divergence: Divergence) -> bool:
    """At its end, or where checkpoint_into_tree is asked for less than it keeps already."""
    if divergence.kind == "crash":
        return "checkpoint_into_tree" in (divergence.place or "")
    ends = (FinishRequest, AbortRequest, RetractRequest, RetractToHost)
    return isinstance(divergence.operation, ends)


def _owned(name: str, owner: str) -> SourcePatch:
    """A request owns at least what the tree protects for it."""
    asked = f"req.{name}()"
    protected = f"max({asked}, {owner}.cache_protected_len)"
    return SourcePatch(COMMON, f"    {name} = {asked}\n", f"    {name} = {protected}\n")


_LENGTH = "effective_kv_committed_len"

STRIPPED_THINKING = Entry(
    identifier="stripped-thinking",
    title="A request that was retracted while it thought gives back what the tree keeps",
    references=(),
    laws=("no-crash", "single-owner", "pinned-until-ack"),
    write_policies=("write_back", "write_through", "write_through_selective"),
    affected=("0.5.22", "0.5.23"),
    fixed=(),
    shown_on=("0.5.23",),
    traces=(
        *WITHOUT_HOST,
        NamedTrace(
            "it waited on the host",
            "A server that only decodes: what waited is given to the tree when it resumes.",
            SMALL,
            (
                BeginRequest(0, (1,), 1),
                DecodeRequest(0, 2),
                RetractToHost(0),
                ResumeRequest(0),
                FinishRequest(0),
            ),
            since="0.5.21",
        ),
    ),
    patch=_owned("owned_kv_len", "req.kv"),
    story=(
        "With --strip-thinking-cache a request that has thought owns its prompt and no more "
        "(schedule_batch.py, owned_kv_len), so that its end gives back the rest. A retraction does "
        "not forget that it has thought: admitted again, it computes prompt and thoughts as one "
        "prompt, the tree takes both and protects them for it, beyond what it is said to own. When "
        "it finishes, an assertion ends the server (checkpoint_into_tree: cache_protected_len <= "
        "len(new_indices)). When it is retracted once more, the tree's own slots are freed, and "
        "nobody sees it: the next request gets them and writes over the KV that the tree hands to "
        "others. A decode that runs out of memory retracts, and so does priority preemption; in a "
        "server that only decodes (set up as for unawaited-load) a request that waited in the host "
        "pool gives the tree what it thought when it resumes. With the patch a request owns at "
        "least what the tree protects for it. Where keys are pairs of tokens (EAGLE) that is one "
        "token too few, as no key is of the last one."
    ),
    looks_like=_gave_back,
    target="sglang-unified",
    upstream_test="stripped_thinking.py",
)

RUST_STRIPPED_THINKING = attrs.evolve(
    STRIPPED_THINKING,
    identifier="stripped-thinking-rust",
    title="A retracted request that thought gives back what the tree keeps, with the Rust core too",
    target="sglang-unified-rust",
)

SILENTLY_STRIPPED = attrs.evolve(
    STRIPPED_THINKING,
    identifier="stripped-silently",
    title="A request that was retracted while it thought frees what the tree keeps",
    laws=("single-owner", "pinned-until-ack"),
    affected=(*FROM_0_5_12_TO_0_5_18, *IN_0_5_19_AND_0_5_20, "0.5.21"),
    shown_on=("0.5.21",),
    earlier_patches=(
        ("0.5.15.post1", None),
        ("0.5.18", _owned(_LENGTH, "req")),
        ("0.5.20", _owned(_LENGTH, "req.kv")),
    ),
    story=(
        "As stripped-thinking, in the releases before 0.5.22: no assertion ends the server there, "
        "and the tree's slots are freed already when the request finishes. Up to 0.5.15 the "
        "request is asked for its length at two places, so that no few lines mend it."
    ),
    upstream_test=None,
    untested="what is left to mend is in 0.5.22 and 0.5.23, and stripped-thinking has a test.",
)

RUST_SILENTLY_STRIPPED = attrs.evolve(
    SILENTLY_STRIPPED,
    identifier="stripped-silently-rust",
    title="A retracted request that thought frees what the tree keeps, with the Rust core too",
    target="sglang-unified-rust",
    affected=("0.5.20", "0.5.21"),
)

HIRADIX_SILENTLY_STRIPPED = attrs.evolve(
    SILENTLY_STRIPPED,
    identifier="stripped-silently-hiradix",
    title="A request that was retracted while it thought frees what HiRadixCache keeps",
    target="sglang",
    traces=WITHOUT_HOST,
    affected=(*IN_0_5_11, *FROM_0_5_12_TO_0_5_18, *IN_0_5_19_AND_0_5_20),
    shown_on=("0.5.18",),
)
