"""The same operations on a simpler cache."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import attrs

from hicache_model.configuration import Configuration
from hicache_verify.simpler.arguments import smaller_integers
from hicache_verify.simpler.tokens import tokens_of, with_tokens
from hicache_verify.trace import Trace

#: What nobody has to think about.
PLAIN: dict[str, Any] = {
    "bigram": False,
    "page_size": 1,
    "layers": 1,
    "copies": "early",
    "eviction_policy": "lru",
    "load_back_threshold": 1,
    "io_backend": "direct",
    "state_buffers": 0,
    "state_chunk": 1,
    "track_interval": 1,
    "strip_thinking": False,
    "requests": attrs.fields(Configuration).requests.default,
    "context_length": attrs.fields(Configuration).context_length.default,
}


def simpler_configuration(trace: Trace) -> Iterator[Trace]:
    """Plain settings, then smaller pools."""
    configuration = trace.configuration
    if configuration.bigram:
        yield _with_tokens_for_pairs(trace)
    for name, value in PLAIN.items():
        if getattr(configuration, name) != value:
            yield from _changed(trace, name, value)
    for name in sized(configuration):
        page = (
            configuration.page_size if name != "component_slots" else configuration.component_page
        )
        for pages in smaller_integers(getattr(configuration, name) // page):
            yield from _changed(trace, name, pages * page)


def _with_tokens_for_pairs(trace: Trace) -> Trace:
    """As many keys as before: each list of tokens without its last one."""
    shorter = (
        with_tokens(op, tokens_of(op)[:-1]) if len(tokens_of(op)) > 1 else op
        for op in trace.operations
    )
    configuration = trace.configuration.with_(bigram=False)
    return trace.with_(configuration=configuration, operations=tuple(shorter))


def _changed(trace: Trace, name: str, value: Any) -> Iterator[Trace]:
    """Nothing where no cache can have that, such as states of no buffer with longer pages."""
    with contextlib.suppress(ValueError):
        yield trace.with_(configuration=trace.configuration.with_(**{name: value}))


def sized(configuration: Configuration) -> tuple[str, ...]:
    """The pools that are sized in tokens, or states."""
    component = ("component_slots",) if configuration.component != "full" else ()
    return ("device_slots", "host_slots", *component)


def configuration_size(configuration: Configuration) -> tuple[int, ...]:
    unusual = [getattr(configuration, name) != value for name, value in PLAIN.items()]
    return (
        configuration.page_size,
        sum(unusual),
        sum(getattr(configuration, name) for name in sized(configuration)),
    )
