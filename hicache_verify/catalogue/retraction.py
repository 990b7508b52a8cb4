"""Defects of requests that wait on the host for their return, in servers that only decode."""

from __future__ import annotations

import attrs

from hicache_model.configuration import Configuration
from hicache_model.operations import (
    BeginRequest,
    CompleteWrites,
    DecodeRequest,
    EvictDevice,
    LoadBack,
    ResumeRequest,
    RetractToHost,
)
from hicache_verify.catalogue.entry import Entry, NamedTrace

UNAWAITED_LOAD = Entry(
    identifier="unawaited-load",
    title="A request that resumes gives its KV up for slots that are still being loaded",
    references=(),
    laws=("read-after-load", "bytes"),
    write_policies=("write_back", "write_through", "write_through_selective"),
    affected=("0.5.21", "0.5.22", "0.5.23"),
    fixed=(),
    shown_on=("0.5.23",),
    traces=(
        NamedTrace(
            "a load for another request",
            "The prompt [1] has left the device and is being loaded for somebody else when the "
            "request gets its own KV of it back: the tree frees that, and the next token is "
            "computed from what lies in the slots of the load.",
            Configuration("write_through", device_slots=3, host_slots=2),
            (
                BeginRequest(0, (1,), 1),
                CompleteWrites(1),
                RetractToHost(0),
                EvictDevice(1),
                LoadBack((1,)),
                ResumeRequest(0),
                DecodeRequest(0, 2),
            ),
        ),
    ),
    patch=None,
    story=(
        "A load back gives a node its device slots when it is decided; the bytes come later, and "
        "whoever may read them must wait. A batch of prompts waits layer by layer, and a decode "
        "server asks of each request that was transferred whether the load has ended (READY in "
        "decode_hicache_mixin.py). A request that resumes is asked nothing: "
        "resume_retracted_reqs puts its KV into new slots, other loads may start in the same round "
        "(pop_transferred), and the batch that it goes on in gives its KV to the tree "
        "(process_prebuilt). Where the tree has a node of the prompt whose load has not ended, the "
        "request's own slots are freed as duplicates, its row names the node's, and the next "
        "forward pass, which waits for no load, reads what lies there. Read for servers with "
        "--disaggregation-mode decode, --disaggregation-decode-enable-radix-cache, "
        "--enable-hierarchical-cache and --disaggregation-decode-retraction-backup host_pool; here "
        "the load is queued before the request resumes, because one operation resumes it. What "
        "mends it is in the scheduler: wait for the loads, as for a request that was transferred."
    ),
    looks_like=lambda divergence: isinstance(
        divergence.operation, (DecodeRequest, ResumeRequest, RetractToHost)
    ),
    target="sglang-unified",
    untested=(
        "the mistake is the scheduler's, who asks nobody whether the load has ended. The cache "
        "does as it is told, and no call of its classes answers wrongly."
    ),
)

RUST_UNAWAITED_LOAD = attrs.evolve(
    UNAWAITED_LOAD,
    identifier="unawaited-load-rust",
    title="A request that resumes gives its KV up for slots in flight, with the Rust core too",
    target="sglang-unified-rust",
)
