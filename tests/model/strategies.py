"""Hypothesis strategies for every class of the vocabulary, made from their fields by name.

A class with a field that is not listed here fails the tests: a new field needs a strategy.
"""

from __future__ import annotations

from typing import Any

import attrs
from hypothesis import strategies as st

from hicache_model.configuration import COMPONENTS, EVICTION_POLICIES, WRITE_POLICIES, Configuration
from hicache_model.fields import MAX_COUNT

TOKENS = st.lists(st.integers(0, MAX_COUNT - 1), min_size=1, max_size=8).map(tuple)
LENGTH = st.integers(0, MAX_COUNT)

FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "tokens": TOKENS,
    "namespace": st.none() | st.text(min_size=1, max_size=256),
    "priority": st.integers(0, 1 << 20),
    "chunked": st.booleans(),
    "count": st.integers(1, MAX_COUNT),
    "quota": st.none() | LENGTH,
    "request": st.integers(0, 1 << 20),
    "chunk": st.integers(1, MAX_COUNT),
    "outputs": st.integers(0, 1 << 20),
    "token": LENGTH,
    "device_length": LENGTH,
    "host_length": LENGTH,
    "prefix_length": LENGTH,
    "loaded_length": LENGTH,
    "needed": LENGTH,
    "started": st.booleans(),
    "saved": st.booleans(),
    "component": st.sampled_from(COMPONENTS),
    "component_host_length": LENGTH,
    "component_tokens": LENGTH,
    "slots": st.lists(LENGTH, max_size=8).map(tuple),
}


def instances(cls: type[Any]) -> st.SearchStrategy[Any]:
    """Any legal value of an operation or outcome class. ``tokens`` of Evicted is a count."""
    strategies = {
        field.name: LENGTH if _is_count(cls, field.name) else FIELDS[field.name]
        for field in attrs.fields(cls)
    }
    return st.builds(cls, **strategies)


def _is_count(cls: type[Any], name: str) -> bool:
    return name == "tokens" and cls.__name__ in ("Evicted", "LoadedBack")


@st.composite
def configurations(draw: st.DrawFn) -> Configuration:
    component = draw(st.sampled_from(COMPONENTS))
    states = component == "mamba"  # with one io backend; long pages only with a buffer
    buffers = draw(st.integers(0, 2))
    page_size = 1 if states and not buffers else draw(st.integers(1, 1024))
    return Configuration(
        write_policy=draw(st.sampled_from(WRITE_POLICIES)),
        eviction_policy=draw(st.sampled_from(EVICTION_POLICIES)),
        page_size=page_size,
        device_slots=page_size * draw(st.integers(1, (1 << 20) // page_size)),
        host_slots=page_size * draw(st.integers(1, (1 << 20) // page_size)),
        load_back_threshold=draw(st.integers(1, MAX_COUNT)),
        layers=draw(st.integers(1, 64)),
        io_backend="direct" if states else draw(st.sampled_from(("direct", "kernel"))),
        copies=draw(st.sampled_from(("late", "early"))),
        requests=draw(st.integers(1, 1024)),
        context_length=draw(st.integers(2, 1 << 20)),
        component=component,
        window=draw(st.integers(1, 1 << 20)),
        component_slots=page_size * draw(st.integers(1, (1 << 20) // page_size)),
        state_buffers=buffers,
        state_chunk=page_size * draw(st.integers(1, 8)),
        track_interval=page_size * draw(st.integers(1, 8)),
        strip_thinking=draw(st.booleans()),
    )
