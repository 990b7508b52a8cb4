"""A real stream may have moved any part of a copy at any time: that is no divergence either."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from hicache_impl.native import parts
from hicache_impl.native.pools import Slots
from hicache_impl.native.target import NativeFactory
from hicache_impl.native.transfer import CpuEngine
from hicache_model.configuration import WRITE_POLICIES
from hicache_verify.campaigns.cells import Cell
from hicache_verify.lockstep import Lockstep
from hicache_verify.menu import Menu, RandomChooser
from hicache_verify.report.listing import divergence_block
from hicache_verify.sources.examples import draw_plan

EXAMPLES = 30


class HalfDone(CpuEngine):
    """Some layers arrive at once, the others when somebody waits."""

    random = Random(0)

    def write(self, device: Slots, host: Slots) -> Any:
        return self.begin(super().write(device, host))

    def load(self, device: Slots, host: Slots) -> Any:
        return self.begin(super().load(device, host))

    def begin(self, transfer: Any) -> Any:
        if transfer.stream.queue[0] is transfer:
            transfer.move_up_to(self.random.randrange(transfer.copy.layers + 1))
        return transfer


@pytest.mark.parametrize("write_policy", WRITE_POLICIES)
def test_copies_that_are_half_done_agree_with_the_model(
    write_policy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[HalfDone] = []

    def half_done(device_kv: Any, host_kv: Any, *rest: Any) -> HalfDone:
        made.append(HalfDone(device_kv, host_kv, early=False))
        return made[-1]

    monkeypatch.setattr(parts, "engine_for", half_done)
    cell, factory = Cell(write_policy, 1, "lru"), NativeFactory()
    for number in range(EXAMPLES):
        chooser = RandomChooser(Random(f"half done/{cell}/{number}"))
        plan = draw_plan(cell, factory.description, chooser)
        lockstep = Lockstep(factory, plan.configuration.with_(layers=3), exact=False)
        menu = Menu(lockstep.model, plan.kinds)
        for _ in range(plan.length):
            operation = menu.draw(chooser)
            found = None if operation is None else lockstep.step(operation)
            assert found is None, "\n".join(divergence_block(found))
        assert lockstep.finish() is None
    assert len(made) >= EXAMPLES
