"""The vocabulary: a trace is exactly what was done, and what is not exactly a trace is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hicache_model import operations, outcomes
from hicache_model.codec import Codec, decode_fields, encode_fields
from hicache_model.configuration import Configuration
from hicache_model.fields import MAX_COUNT, MAX_TOKENS
from tests.model.strategies import configurations, instances

Codecs = pytest.mark.parametrize(
    ("codec", "cls"),
    [
        pytest.param(codec, cls, id=name)
        for codec in (operations.codec, outcomes.codec)
        for cls, name in codec.names.items()
    ],
)


few = settings(max_examples=25, deadline=None)
"""Of each class; there are many classes."""


def by_json(data: Any) -> Any:
    return json.loads(json.dumps(data))


# -- nothing is lost -------------------------------------------------------------------------------


@Codecs
@few
@given(data=st.data())
def test_what_is_written_is_read_back_unchanged(
    codec: Codec[Any], cls: type[Any], data: st.DataObject
) -> None:
    value = data.draw(instances(cls))
    again = codec.decode(by_json(codec.encode(value)))
    assert type(again) is cls
    assert attrs.astuple(again) == attrs.astuple(value)  # slots too, which equality leaves out
    assert codec.encode(again) == codec.encode(value)


@given(configurations())
def test_a_configuration_is_read_back_unchanged(configuration: Configuration) -> None:
    assert decode_fields(Configuration, by_json(encode_fields(configuration))) == configuration


@Codecs
def test_a_value_is_a_key_and_cannot_be_changed(codec: Codec[Any], cls: type[Any]) -> None:
    value = cls(
        **{name: tuple(v) if isinstance(v, list) else v for name, v in legal_fields(cls).items()}
    )
    assert len({value, codec.decode(codec.encode(value))}) == 1
    with pytest.raises((attrs.exceptions.FrozenInstanceError, AttributeError)):
        value.something = 1


def test_every_operation_and_outcome_has_a_name_of_its_own() -> None:
    for codec, classes in (
        (operations.codec, operations.OPERATIONS),
        (outcomes.codec, outcomes.OUTCOMES),
    ):
        assert len(set(codec.names.values())) == len(classes) == len(codec.classes)


@given(st.sampled_from(operations.OPERATIONS).flatmap(instances))
def test_an_operation_is_described_in_one_line_that_begins_with_its_name(op: Any) -> None:
    text = operations.describe(op)
    assert text.startswith(operations.codec.names[type(op)].replace("_", " "))
    assert op.namespace is None or "namespace=" in text if hasattr(op, "namespace") else True


def test_defaults_are_left_out() -> None:
    encoded = operations.codec.encode(operations.Insert((1, 2)))
    assert encoded == {"op": "insert", "tokens": [1, 2]}


# -- what is refused -------------------------------------------------------------------------------

NO_INTEGER: tuple[object, ...] = (True, False, 1.0, "1", [1], {}, -1, MAX_COUNT + 1)
NO_TOKENS: tuple[object, ...] = (
    *([], "12", 7, None, {}, [True]),
    *([-1], [1.5], ["1"], [None], [MAX_COUNT], [[1]]),
)
NO_FLAG: tuple[object, ...] = (0, 1, "true", None, [])
NO_TEXT: tuple[object, ...] = ("", 5, True, [], "x" * 257)


def least(name: str) -> int:
    return 1 if name in ("count", "chunk") else 0


def wrong_values(cls: type[Any], field: attrs.Attribute[Any]) -> Iterator[Any]:
    kind, name = str(field.type), field.name
    if kind.startswith("tuple"):
        yield from NO_TOKENS if name == "tokens" else ()
    elif kind.startswith("bool"):
        yield from NO_FLAG
    elif kind.startswith("str"):
        yield from NO_TEXT
    else:
        yield from NO_INTEGER
        yield from (None,) if "None" not in kind else ()
        yield from (0,) if least(name) else ()


REFUSED = [
    pytest.param(codec, cls, field.name, value, id=f"{name}-{field.name}-{value!r:.12}")
    for codec in (operations.codec, outcomes.codec)
    for cls, name in codec.names.items()
    for field in attrs.fields(cls)
    for value in wrong_values(cls, field)
]

LEGAL: dict[str, Any] = {"tokens": [1], "chunk": 1, "count": 1, "started": False}


def legal_fields(cls: type[Any]) -> dict[str, Any]:
    required = [f.name for f in attrs.fields(cls) if f.default is attrs.NOTHING]
    counts = cls in (outcomes.Evicted, outcomes.LoadedBack)
    return {name: 1 if counts else LEGAL.get(name, 1) for name in required}


@pytest.mark.parametrize(("codec", "cls", "field", "value"), REFUSED)
def test_a_wrong_value_is_refused_by_class_and_field(
    codec: Codec[Any], cls: type[Any], field: str, value: Any
) -> None:
    name = codec.names[cls]
    with pytest.raises(ValueError, match=rf"^{name}: {field} ") as refused:
        codec.decode({codec.tag: name, **legal_fields(cls), field: value})
    assert len(str(refused.value)) < 200  # one line, however long the value


@Codecs
def test_the_legal_fields_of_these_tests_are_legal(codec: Codec[Any], cls: type[Any]) -> None:
    assert type(codec.decode({codec.tag: codec.names[cls], **legal_fields(cls)})) is cls


@Codecs
def test_an_unknown_field_is_refused(codec: Codec[Any], cls: type[Any]) -> None:
    name = codec.names[cls]
    with pytest.raises(ValueError, match=rf"^{name}: unknown field 'tokenz'"):
        codec.decode({codec.tag: name, **legal_fields(cls), "tokenz": 1})


@pytest.mark.parametrize(
    ("codec", "cls", "missing"),
    [
        pytest.param(codec, cls, field, id=f"{name}-{field}")
        for codec in (operations.codec, outcomes.codec)
        for cls, name in codec.names.items()
        for field in legal_fields(cls)
    ],
)
def test_a_missing_field_is_refused(codec: Codec[Any], cls: type[Any], missing: str) -> None:
    fields = legal_fields(cls)
    del fields[missing]
    name = codec.names[cls]
    with pytest.raises(ValueError, match=rf"^{name}: field '{missing}' is missing$"):
        codec.decode({codec.tag: name, **fields})


@pytest.mark.parametrize(
    "data",
    [None, 1, "insert", [], {}, {"op": None}, {"op": 3}, {"op": ["insert"]}, {"op": "Insert"}],
    ids=repr,
)
def test_what_names_no_operation_is_refused(data: Any) -> None:
    with pytest.raises(ValueError, match=r"'op'|unknown op"):
        operations.codec.decode(data)


def test_too_many_tokens_are_refused() -> None:
    with pytest.raises(ValueError, match=rf"tokens holds {MAX_TOKENS + 1} tokens"):
        operations.Match((1,) * (MAX_TOKENS + 1))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


@Codecs
@few
@given(data=st.data())
def test_garbage_in_a_field_is_a_value_error_or_a_legal_value(
    codec: Codec[Any], cls: type[Any], data: st.DataObject
) -> None:
    fields = legal_fields(cls)
    names = [f.name for f in attrs.fields(cls) if f.name != "slots"]  # judged by the laws
    if names:
        fields[data.draw(st.sampled_from(names))] = data.draw(JSON)
    try:
        value = codec.decode({codec.tag: codec.names[cls], **fields})
    except ValueError:
        return
    assert codec.decode(by_json(codec.encode(value))) == value


# -- configurations --------------------------------------------------------------------------------


@pytest.mark.parametrize("field", ["device_slots", "host_slots"])
@pytest.mark.parametrize(("slots", "better"), [(1, 4), (3, 4), (6, 4), (15, 12)])
def test_a_pool_that_is_no_whole_number_of_pages_is_refused_with_the_nearest(
    field: str, slots: int, better: int
) -> None:
    with pytest.raises(ValueError, match=rf"^{field} is {slots}, .*page_size 4; use {better}$"):
        Configuration(page_size=4, device_slots=8, host_slots=8).with_(**{field: slots})


WRONG_CONFIGURATIONS = [
    (field.name, value)
    for field in attrs.fields(Configuration)
    for value in (
        (True, 1.5, "4", None, 0, -1, 1 << 40)
        if str(field.type) == "int"
        else (None, 3, True, "LRU", "", "write-back", [])
    )
    if not (field.name == "state_buffers" and value == 0 and type(value) is int)
    and not (str(field.type) == "bool" and value is True)
]


@pytest.mark.parametrize(("field", "value"), WRONG_CONFIGURATIONS, ids=repr)
def test_an_impossible_configuration_is_refused_by_field(field: str, value: Any) -> None:
    with pytest.raises(ValueError, match=rf"^{field} must be "):
        decode_fields(Configuration, {field: value})


def test_an_unknown_setting_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown field 'pagesize'"):
        decode_fields(Configuration, {"pagesize": 1})


def test_only_selective_waits_for_a_second_hit() -> None:
    thresholds = {
        policy: Configuration(write_policy=policy).write_through_threshold
        for policy in ("write_through", "write_through_selective")
    }
    assert thresholds == {"write_through": 1, "write_through_selective": 2}


@pytest.mark.parametrize("slots", ["abc", [True], [-1], ["1"], [1.5]], ids=repr)
def test_slots_that_are_no_slots_are_refused(slots: Any) -> None:
    data = {"outcome": "matched", "device_length": 1, "host_length": 0, "slots": slots}
    with pytest.raises(ValueError, match="slots"):
        outcomes.codec.decode(data)
