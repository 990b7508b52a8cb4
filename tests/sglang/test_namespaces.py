"""A namespace is extra_key and cache_salt where the release knows a salt, else extra_key alone."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from hicache_impl.sglang.namespaces import KeyParts, namespace_of, parts_of
from hicache_model.operations import BeginRequest, FinishRequest, Match
from tests.fetched import fetched
from tests.processes import python
from tests.sglang.test_hiradix_child import pages, run, sizes

SALTED = [(None, None), ("a", None), (None, "a"), ("a", "a")]
NAMES = [None, "a", "#a", "a#a"]

KEYS = """
import json, sys
from tests.sglang.test_hiradix_child import _factory
from hicache_model import operations as ops
from hicache_model.configuration import Configuration

target = _factory(*sys.argv[1:]).build(Configuration(device_slots=16, host_slots=24))
for number, name in enumerate([None, "a", "#a", "a#a"]):
    target.perform(ops.BeginRequest(number, (1, 2), 2, namespace=name))
    target.perform(ops.FinishRequest(number))
root = target._calls.cache if sys.argv[2] == "hiradix" else target._calls.tree
keys = [node.key for node in root.root_node.children.values()]
print(json.dumps([(key.extra_key, key.cache_salt) for key in keys]))
"""


@pytest.mark.parametrize(
    ("name", "parts"), [*zip(NAMES, SALTED, strict=True), ("a#", ("a#", None)), ("##", (None, "#"))]
)
def test_a_salt_is_what_follows_the_mark_and_is_found_again(
    name: str | None, parts: tuple[str | None, str | None]
) -> None:
    assert parts_of(name, "0.5.18") == parts
    extra_key, cache_salt = parts
    assert namespace_of(SimpleNamespace(extra_key=extra_key, cache_salt=cache_salt)) == name


def test_a_release_without_salts_takes_the_whole_text_as_extra_key() -> None:
    assert parts_of("a#a", "0.5.17") == KeyParts("a#a")
    assert namespace_of(SimpleNamespace(extra_key="a#a")) == "a#a"


@pytest.mark.parametrize(("version", "cache"), [("0.5.18", "hiradix"), ("0.5.23", "unified")])
def test_the_kv_of_a_salted_request_is_kept_under_its_salt(version: str, cache: str) -> None:
    fetched(version)
    found = python("-c", KEYS, version, cache)
    assert [tuple(key) for key in found.json] == SALTED


@pytest.mark.parametrize(
    ("version", "cache"), [("0.5.18", "hiradix"), ("0.5.23", "unified"), ("0.5.23", "unified-rust")]
)
@pytest.mark.parametrize("page", [1, 4])
def test_namespaces_that_differ_only_in_the_salt_never_meet(
    version: str, cache: str, page: int
) -> None:
    tokens = pages(page, 1, 2)
    script = BeginRequest(0, tokens, 2 * page, namespace="a#a"), FinishRequest(0)
    lookups = [Match(tokens, namespace=name) for name in NAMES]
    steps = run(version, sizes(page), *script, *lookups, cache=cache)
    assert [step.outcome.device_length for step in steps[2:]] == [0, 0, 0, 2 * page]
