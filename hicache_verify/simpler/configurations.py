"""The same operations on a simpler cache."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import attrs

from hicache_model.configuration import Configuration
from hicache_verify.simpler.arguments import smaller_integers
from hicache_verify.trace import Trace

#: What nobody has to think about.
PLAIN: dict[str, Any] = {
    "page_size": 1,
    "layers": 1,
    "copies": "early",
    "eviction_policy": "lru",
    "load_back_threshold": 1,
    "io_backend": "direct",
    "requests": attrs.fields(Configuration).requests.default,
    "context_length": attrs.fields(Configuration).context_length.default,
}


def simpler_configuration(trace: Trace) -> Iterator[Trace]:
    """Plain settings, then smaller pools."""
    configuration = trace.configuration
    for name, value in PLAIN.items():
        if getattr(configuration, name) != value:
            yield trace.with_(configuration=configuration.with_(**{name: value}))
    page = configuration.page_size
    for name in sized(configuration):
        for pages in smaller_integers(getattr(configuration, name) // page):
            yield trace.with_(configuration=configuration.with_(**{name: pages * page}))


def sized(configuration: Configuration) -> tuple[str, ...]:
    """The pools that are sized in tokens, and multiples of a page."""
    component = ("component_slots",) if configuration.component != "full" else ()
    return ("device_slots", "host_slots", *component)


def configuration_size(configuration: Configuration) -> tuple[int, ...]:
    unusual = [getattr(configuration, name) != value for name, value in PLAIN.items()]
    return (
        configuration.page_size,
        sum(unusual),
        sum(getattr(configuration, name) for name in sized(configuration)),
    )
