"""Hypothesis strategies for anything that the vocabulary can say, legal in its state or not."""

from __future__ import annotations

from typing import Any

import attrs
from hypothesis import strategies as st

from hicache_model import operations
from hicache_model.configuration import COMPONENTS, EVICTION_POLICIES, WRITE_POLICIES, Configuration
from hicache_verify.trace import Trace

_token = st.integers(0, (1 << 31) - 1)
_small = st.integers(0, 1 << 20)
_text = st.text(min_size=1, max_size=8)
_ARGUMENTS: dict[str, st.SearchStrategy[Any]] = {
    "tokens": st.lists(_token, min_size=1, max_size=6).map(tuple),
    "namespace": st.none() | _text,
    "priority": _small,
    "chunked": st.booleans(),
    "count": st.integers(1, 1 << 31),
    "quota": st.none() | st.integers(0, 1 << 31),
    "request": _small,
    "chunk": st.integers(1, 1 << 31),
    "outputs": _small,
    "token": _token,
    "component": st.sampled_from(COMPONENTS),
}
_OPERATIONS = st.one_of(
    [
        st.builds(cls, **{field.name: _ARGUMENTS[field.name] for field in attrs.fields(cls)})
        for cls in operations.OPERATIONS
    ]
)


@st.composite
def configurations(draw: st.DrawFn) -> Configuration:
    component = draw(st.sampled_from(COMPONENTS))
    buffers = draw(st.integers(0, 2))
    page = 1 if component == "mamba" and not buffers else draw(st.integers(1, 64))
    return Configuration(
        write_policy=draw(st.sampled_from(WRITE_POLICIES)),
        component=component,
        component_slots=page * draw(st.integers(1, 8)),
        state_buffers=buffers,
        track_interval=page * draw(st.integers(1, 4)),
        window=draw(st.integers(1, 64)),
        eviction_policy=draw(st.sampled_from(EVICTION_POLICIES)),
        page_size=page,
        device_slots=page * draw(st.integers(1, 100)),
        host_slots=page * draw(st.integers(1, 100)),
        load_back_threshold=draw(st.integers(1, 10)),
        copies=draw(st.sampled_from(("early", "late"))),
        strip_thinking=draw(st.booleans()),
    )


_PLAIN = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
TRACES = st.builds(
    Trace,
    configuration=configurations(),
    target=_text,
    release=_text,
    operations=st.lists(_OPERATIONS, max_size=8),
    provenance=st.dictionaries(
        st.text(max_size=8),
        _PLAIN.filter(lambda value: value not in (float("inf"), float("-inf"))),
        max_size=4,
    ),
)
