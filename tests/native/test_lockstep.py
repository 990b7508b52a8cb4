"""Our own cache agrees with the model, and refuses what cannot be."""

from __future__ import annotations

from random import Random

import pytest

from hicache_impl.bugs import find
from hicache_impl.native.target import NativeFactory
from hicache_model.configuration import WRITE_POLICIES, Configuration
from hicache_model.operations import BeginRequest, EvictDevice, ExtendRequest, Insert, LoadBack
from hicache_model.outcomes import Evicted
from hicache_verify.campaigns.cells import Cell
from hicache_verify.lockstep import Lockstep
from hicache_verify.menu import RandomChooser
from hicache_verify.report.listing import divergence_block
from hicache_verify.sources.examples import draw_plan

EXAMPLES = 40


@pytest.mark.parametrize(
    ("eviction_policy", "bigram"),
    [
        *((policy, False) for policy in ("lru", "slru", "priority", "tlru")),
        *((policy, True) for policy in ("lru", "tlru")),
    ],
)
@pytest.mark.parametrize("page_size", [1, 4, 16])
@pytest.mark.parametrize("write_policy", WRITE_POLICIES)
def test_it_agrees_with_the_model_after_every_operation(
    write_policy: str, page_size: int, eviction_policy: str, bigram: bool
) -> None:
    cell = Cell(write_policy, page_size, eviction_policy, bigram=bigram)
    factory = NativeFactory()
    for number in range(EXAMPLES):
        chooser = RandomChooser(Random(f"native/{cell}/{number}"))
        plan = draw_plan(cell, factory.description, chooser)
        lockstep = Lockstep(factory, plan.configuration, exact=False)
        menu = plan.menu(lockstep.model)
        for _ in range(plan.length):
            operation = menu.draw(chooser)
            found = None if operation is None else lockstep.step(operation)
            assert found is None, "\n".join(divergence_block(found))
        assert lockstep.finish() is None


def test_the_next_chunk_of_a_prompt_waits_for_loads_that_it_took_over_from_another() -> None:
    """SGLang starts the queued loads with every batch that computes prompts."""
    lockstep = Lockstep(NativeFactory(), Configuration(load_back_threshold=3), exact=True)
    for operation in (
        Insert((1,)),
        Insert((1, 2, 3, 4)),
        EvictDevice(3),
        BeginRequest(0, (1, 2, 3), 1),
        LoadBack((1, 2, 3, 4)),
        ExtendRequest(0, 1),  # its own KV of 2 goes, for what is being loaded
    ):
        found = lockstep.step(operation)
        assert found is None, "\n".join(divergence_block(found))


def test_what_should_have_been_answered_is_told_where_a_law_speaks_first() -> None:
    lockstep = Lockstep(find("eviction-reports-nothing").factory(), Configuration())
    assert lockstep.step(Insert((1,))) is None
    found = lockstep.step(EvictDevice(1))
    assert found is not None
    assert (found.law, found.due) == ("progress", Evicted(1))


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"page_size": 0}, "page_size"),
        ({"device_slots": 2, "page_size": 4}, "device_slots"),
        ({"host_slots": 0}, "host_slots"),
        ({"eviction_policy": "random"}, "eviction_policy"),
    ],
)
def test_sizes_and_policies_that_cannot_be_are_refused_by_name(
    change: dict[str, object], word: str
) -> None:
    with pytest.raises(ValueError, match=word):
        Configuration().with_(**change)


def test_a_device_that_torch_does_not_know_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="gpu9"):
        NativeFactory(device="gpu9")
