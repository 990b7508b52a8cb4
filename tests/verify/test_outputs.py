"""The engine where thoughts are stripped: what it draws, tries, writes down and makes simpler."""

from __future__ import annotations

from random import Random

import attrs
import pytest

from hicache_impl.bugs import find
from hicache_impl.native.target import NativeFactory
from hicache_model.configuration import Configuration
from hicache_model.dialects import Dialect
from hicache_model.operations import BeginRequest, DecodeRequest, FinishRequest, Insert
from hicache_model.reference import Reference
from hicache_verify import trace as traces
from hicache_verify.campaigns.cells import BadCell, Cell, Selection
from hicache_verify.campaigns.seeds import derive
from hicache_verify.exploration.alphabet import alphabet
from hicache_verify.exploration.bound import Bound
from hicache_verify.lockstep import Lockstep
from hicache_verify.menu import Menu, RandomChooser
from hicache_verify.minimize import minimize_on
from hicache_verify.report.words import configuration_text
from hicache_verify.simpler.configurations import simpler_configuration
from hicache_verify.targets import BadTarget
from hicache_verify.trace import Trace

STRIPPED = Configuration(strip_thinking=True)
AGAIN = BeginRequest(0, (1, 2, 3), 3, outputs=2)
TRACE = Trace(STRIPPED.with_(device_slots=6), "native", "0.5.18", (AGAIN, FinishRequest(0)))
CELL = Cell("write_back", 1, "lru", strip_thinking=True)
UNABLE = attrs.evolve(NativeFactory().description, strips_thinking=False)


def test_a_trace_says_so_and_an_old_one_strips_nothing() -> None:
    text = traces.dumps(TRACE)
    assert traces.loads(text) == TRACE
    old = traces.loads(text.replace(', "strip_thinking": true', "").replace(', "outputs": 2', ""))
    assert not old.configuration.strip_thinking
    assert old.operations[0] == attrs.evolve(AGAIN, outputs=0)


def test_a_target_that_cannot_is_refused() -> None:
    with pytest.raises(BadCell, match="cannot strip thoughts"):
        Selection(strip_thinking=True).expand(UNABLE)
    unable = NativeFactory()
    object.__setattr__(unable, "description", UNABLE)
    with pytest.raises(BadTarget, match=r"from 0\.5\.11 on"):
        Lockstep(unable, STRIPPED)


def test_a_cell_says_so_and_has_seeds_of_its_own() -> None:
    assert str(CELL).endswith(", thoughts stripped")
    assert "thoughts stripped" in configuration_text(STRIPPED)
    plain = attrs.evolve(CELL, strip_thinking=False)
    assert derive(0, CELL, "random", 0) != derive(0, plain, "random", 0)


@pytest.mark.parametrize("configuration", [Configuration(), STRIPPED], ids=["plain", "stripped"])
def test_outputs_are_drawn_and_tried_only_where_thoughts_are_stripped(
    configuration: Configuration,
) -> None:
    model = Reference(configuration, Dialect.of("0.5.18"))
    model.apply(Insert((1, 2)))
    chooser = RandomChooser(Random(1))
    drawn = [Menu(model).draw_of(BeginRequest, chooser) for _ in range(200)]
    tried = alphabet(model, Bound(1, extras=("requests",)), (Insert((1, 2)),))
    for found in (drawn, tried):
        outputs = {op.outputs for op in found if isinstance(op, BeginRequest)}
        assert (outputs > {0}) == configuration.strip_thinking


def test_a_simpler_cache_strips_nothing() -> None:
    assert any(not t.configuration.strip_thinking for t in simpler_configuration(TRACE))


def test_a_finding_is_minimized_to_what_it_takes() -> None:
    long = (Insert((5,)), AGAIN, DecodeRequest(0, 4), FinishRequest(0))
    shortest = minimize_on(find("thoughts-are-taken-back").factory(), TRACE.with_(operations=long))
    assert shortest.operations == (BeginRequest(0, (1, 2), 2, outputs=1), FinishRequest(0))
    assert shortest.configuration.strip_thinking
