"""Between the steps of an insert or an eviction, too, the laws that hold there are judged."""

from __future__ import annotations

from typing import Any

import pytest

from hicache_impl.sglang.releases import KNOWN_UNIFIED
from hicache_model.boundaries import HOLDS, ONLY_AFTERWARDS
from hicache_model.laws import COMPONENT_LAWS, LAWS
from tests.fetched import fetched
from tests.processes import python
from tests.sglang.test_unified_rust import on_its_python

NEWEST = KNOWN_UNIFIED[-1]

CHILD = """
import json, sys

from hicache_impl.sglang.loader import load
from hicache_impl.sglang.source import Release
from hicache_impl.sglang.unified.target import UnifiedFactory
from hicache_model.configuration import Configuration
from hicache_model.operations import *
from hicache_verify.lockstep import LAW_INTERVAL, Lockstep

version, core, bug, mode, write_policy, script = sys.argv[1:]
allocators = {}

class Factory:
    def __init__(self):
        self.real = UnifiedFactory(load(Release(version), cache="unified"), core)
        self.description = self.real.description
    def build(self, configuration):
        target = self.real.build(configuration)
        allocators[target._calls.tree] = target.parts.allocator
        return target

factory = Factory()
target = factory.build(Configuration())
Core, full = type(target._calls.tree), target._calls.full

def freed_before_its_host_copy():
    leaf, demote = Core.evict_device_leaf, Core.demote
    def evict_device_leaf(self, node, is_write_back):
        step = leaf(self, node, is_write_back)
        if step.backup_kv is not None:
            allocators[self].free(self.get_component_device_value(node, full))
        return step
    def demoted(self, node):
        step = demote(self, node)
        step.device_frees.clear()
        return step
    Core.evict_device_leaf, Core.demote = evict_device_leaf, demoted

def freed_and_taken_again():
    begin, end = Core.begin_insert, Core.end_insert
    def begin_insert(self, params):
        step = begin(self, params)
        allocators[self].free(params.value[-1:])
        return step
    def end_insert(self):
        allocators[self].free_pages = allocators[self].free_pages[:-1]
        return end(self)
    Core.begin_insert, Core.end_insert = begin_insert, end_insert

if bug != "none":
    globals()[bug]()
lockstep = Lockstep(factory, Configuration(write_policy=write_policy), exact=mode == "exact")
found, told = None, []
for operation in eval(script):
    found = lockstep.step(operation)
    told = [(boundary.after, boundary.applied) for boundary in lockstep.boundaries]
    if found is not None:
        break
print(json.dumps([found and (found.law, found.message), len(lockstep.performed), told]))
"""

CORES = ["python", pytest.param("rust", marks=on_its_python)]


def lockstep(core: str, bug: str, write_policy: str, script: str, mode: str = "exact") -> Any:
    """The law and its message, or None; operations done; boundaries of the last one."""
    fetched(NEWEST)
    done = python("-c", CHILD, NEWEST, core, bug, mode, write_policy, script)
    assert done.code == 0, done.err
    return done.json


def test_every_law_is_judged_between_two_steps_or_has_a_reason_not_to_be() -> None:
    assert HOLDS.keys().isdisjoint(ONLY_AFTERWARDS)
    assert HOLDS.keys() | ONLY_AFTERWARDS.keys() == LAWS.keys() - COMPONENT_LAWS


@pytest.mark.parametrize("core", CORES)
def test_the_boundaries_of_an_eviction_are_before_and_after_the_host_copy(core: str) -> None:
    found, _, told = lockstep(core, "none", "write_back", "[Insert((1,)), EvictDevice(1)]")
    assert found is None
    names = ("evict_device_start", "evict_device_next_node", "evict_device_leaf", "demote")
    assert [name for name, applied in told if not applied][:4] == list(names)
    assert ["evict_device_leaf", True] in told  # the copy is there, the device slot not yet free


@pytest.mark.parametrize("core", CORES)
def test_the_boundaries_of_an_insert_are_where_it_waits_for_a_backup(core: str) -> None:
    script = "[Insert((1, 2)), Insert((1, 3))]"
    found, _, told = lockstep(core, "none", "write_through_selective", script)
    assert found is None
    assert told == [
        ["begin_insert", False],  # the duplicate of [1] is to be freed, and [1] to be backed up
        ["begin_insert", True],
        ["resume_insert", False],
        ["resume_insert", True],
        ["end_insert", False],
    ]


@pytest.mark.parametrize("core", CORES)
@pytest.mark.parametrize(
    ("bug", "script", "steps", "when"),
    [
        (
            "freed_before_its_host_copy",
            "[Insert((1, 2)), EvictDevice(1)]",
            2,
            "evict_device_leaf returned: device slot 1 ",
        ),
        ("freed_and_taken_again", "[Insert((1, 2))]", 1, "begin_insert returned: device slot 2 "),
    ],
)
def test_a_slot_that_is_free_only_between_two_steps_is_found(
    bug: str, script: str, steps: int, when: str, core: str
) -> None:
    (law, message), done, _ = lockstep(core, bug, "write_back", script)
    assert (law, done) == ("single-owner", steps)
    assert message.startswith(f"between two steps, when {when}")


def test_a_quick_comparison_looks_between_the_steps_now_and_then() -> None:
    script = "[Insert((1, 2)), *[Match((1, 2))] * (LAW_INTERVAL - 2), EvictDevice(1)]"
    (law, _), done, _ = lockstep(
        "python", "freed_before_its_host_copy", "write_back", script, mode="quick"
    )
    assert law == "single-owner"
    assert done == 32
