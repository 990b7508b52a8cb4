"""Minimizing: what is left is needed, twice the same, and it always ends."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hicache_model import operations as ops
from hicache_model.configuration import Configuration
from hicache_model.dialects import Dialect
from hicache_model.operations import (
    BeginRequest,
    CompleteWrites,
    DecodeRequest,
    EvictDevice,
    EvictHost,
    ExtendRequest,
    FinishRequest,
    Insert,
    Lock,
    Match,
    Operation,
    Unlock,
)
from hicache_model.reference import Reference
from hicache_model.rules import refusal
from hicache_verify import replay as replaying
from hicache_verify import simpler
from hicache_verify.divergence import Divergence
from hicache_verify.minimize import (
    CANDIDATES,
    NotReproduced,
    SameFinding,
    minimize,
    minimize_on,
    performed,
)
from hicache_verify.replay import Step, replay
from hicache_verify.trace import Trace

LARGE = Configuration(
    page_size=4,
    device_slots=64,
    host_slots=128,
    eviction_policy="slru",
    layers=2,
    load_back_threshold=10,
    io_backend="kernel",
)


def trace_of(*operations: Operation, configuration: Configuration = LARGE) -> Trace:
    return Trace(configuration, "fake", "0.5.18", operations, {"seed": 1})


NOISE = (
    Match((9, 8, 7), namespace="tenant"),
    CompleteWrites(7),
    Insert((50, 51, 52), priority=9),
    EvictHost(12),
    BeginRequest(17, (70, 71, 72), 2),
    DecodeRequest(17, 99),
    FinishRequest(17),
)
NEEDED = (
    Insert((40, 41, 42, 43), namespace="tenant", priority=3, chunked=True),
    EvictDevice(9),
    Insert((40, 41, 77), namespace="tenant"),
)


def shows_the_pattern(trace: Trace) -> bool:
    """A prefix inserted, an eviction after it, and a longer insert that shares its first token."""
    for first, op in enumerate(trace.operations):
        if not isinstance(op, Insert):
            continue
        rest = trace.operations[first + 1 :]
        evictions = [i for i, o in enumerate(rest) if isinstance(o, EvictDevice)]
        if any(
            isinstance(o, Insert) and o.tokens[0] == op.tokens[0] and len(o.tokens) > 1
            for o in (rest[evictions[0] :] if evictions else ())
        ):
            return True
    return False


def test_only_what_is_needed_is_left_and_its_arguments_are_the_simplest() -> None:
    noisy = trace_of(*NOISE, NEEDED[0], *NOISE * 8, NEEDED[1], *NOISE, NEEDED[2], *NOISE)
    least = minimize(noisy, shows_the_pattern)
    assert least.operations == (Insert((1,)), EvictDevice(1), Insert((1, 2)))
    assert least.configuration == Configuration(
        device_slots=1, host_slots=1, copies="early", eviction_policy="lru"
    )
    assert least.provenance == {"seed": 1}


def test_tokens_that_must_differ_are_numbered_as_they_appear() -> None:
    def fails(trace: Trace) -> bool:
        inserts = [op for op in trace.operations if isinstance(op, Insert)]
        return any(len(set(op.tokens)) >= 3 and op.namespace for op in inserts)

    least = minimize(trace_of(*NOISE, Insert((9, 5, 9, 7, 2), namespace="b")), fails)
    assert least.operations == (Insert((1, 2, 3), namespace="b"),)


def test_each_prefix_ends_in_a_token_of_its_own() -> None:
    def fails(trace: Trace) -> bool:
        lists = [op.tokens for op in trace.operations if isinstance(op, Insert)]
        return any(a != b and a[:2] == b[:2] for a in lists for b in lists if len(a) > len(b) > 1)

    least = minimize(trace_of(Insert((4, 4, 4)), Insert((9,)), Insert((4, 4, 4, 4))), fails)
    assert least.operations == (Insert((1, 2)), Insert((1, 2, 3)))


def test_a_request_becomes_one_plain_operation_where_that_is_enough() -> None:
    def fails(trace: Trace) -> bool:
        kinds = [type(op) for op in trace.operations]
        given = [op for op in trace.operations if isinstance(op, (Insert, BeginRequest))]
        return bool(given) and len(given[0].tokens) > 1 and kinds[-1] is EvictDevice

    begun = BeginRequest(5, (7, 7, 7), 1, namespace="n")
    life = (begun, ExtendRequest(5, 1), ExtendRequest(5, 4), FinishRequest(5))
    least = minimize(trace_of(*life, begun, EvictDevice(3)), fails)
    assert least.operations == (Insert((1, 2)), EvictDevice(1))


def test_the_prompt_of_a_request_that_must_stay_comes_in_one_piece() -> None:
    def fails(trace: Trace) -> bool:
        done = -100
        for op in trace.operations:
            if isinstance(op, BeginRequest):
                done = min(op.chunk, len(op.tokens))
            elif isinstance(op, ExtendRequest):
                done += op.chunk
            elif isinstance(op, FinishRequest) and done >= 3:
                return True
        return False

    begun = BeginRequest(5, (7, 8, 9), 1)
    least = minimize(
        trace_of(begun, ExtendRequest(5, 1), ExtendRequest(5, 4), FinishRequest(5)), fails
    )
    assert least.operations == (BeginRequest(0, (1, 2, 3), 3), FinishRequest(0))


_some_operations = st.lists(st.sampled_from((*NOISE, *NEEDED)), max_size=20)


@given(_some_operations, st.sets(st.sampled_from(ops.OPERATIONS), max_size=4))
def test_nothing_can_be_taken_away_from_the_result(
    operations: list[Operation], needed: set[type[Any]]
) -> None:
    def fails(trace: Trace) -> bool:
        return needed <= {type(op) for op in trace.operations}

    trace = trace_of(*operations)
    if not fails(trace):
        with pytest.raises(NotReproduced):
            minimize(trace, fails)
        return
    least = minimize(trace, fails)
    assert sorted(type(op).__name__ for op in least.operations) == sorted(
        cls.__name__ for cls in needed
    )
    assert minimize(trace, fails) == least
    assert minimize(least, fails) == least
    for candidates in CANDIDATES:
        for candidate in candidates(least):
            assert not fails(candidate) or simpler.size(candidate) >= simpler.size(least)


@given(_some_operations, st.randoms(use_true_random=False))
def test_it_ends_when_the_answers_make_no_sense(operations: list[Operation], random: Any) -> None:
    trace = trace_of(*operations)
    first = iter([True])
    least = minimize(trace, lambda _: next(first, random.random() < 0.5))
    assert simpler.size(least) <= simpler.size(trace)


def test_no_candidate_is_asked_about_twice() -> None:
    asked: list[Trace] = []

    def fails(trace: Trace) -> bool:
        asked.append(trace)
        return shows_the_pattern(trace)

    minimize(trace_of(*NOISE, *NEEDED, *NOISE), fails)
    assert len({(t.configuration, t.operations) for t in asked}) == len(asked)


def test_the_budget_ends_it_with_the_best_so_far() -> None:
    def fails(trace: Trace) -> bool:
        time.sleep(0.005)
        return shows_the_pattern(trace)

    noisy = trace_of(*NOISE * 40, *NEEDED)
    started = time.monotonic()
    least = minimize(noisy, fails, budget_s=0.1)
    assert time.monotonic() - started < 2
    assert shows_the_pattern(least)
    assert len(least.operations) < len(noisy.operations)


# -- on a target -----------------------------------------------------------------------------------


class FakeLockstep:
    """The reference alone; ``FakeFactory.breaks`` says at which operation it diverges, and how."""

    def __init__(self, factory: FakeFactory, configuration: Configuration) -> None:
        if configuration.host_slots < 2:
            raise ValueError("too small")
        self.factory = factory
        self.model = Reference(configuration, Dialect.of("0.5.18"))
        self.outcome: Any = None
        self.step_count = 0

    @property
    def actual(self) -> Any:
        return self.model.snapshot()

    def illegal(self, op: Operation) -> str | None:
        return refusal(self.model, op)

    def step(self, op: Operation) -> Divergence | None:
        self.outcome = self.model.apply(op)
        self.step_count += 1
        law = self.factory.breaks(self.model, op)
        if law is None:
            return None
        return Divergence("law", law, "law", "broken", self.step_count - 1, op)


class FakeFactory:
    description: Any = None

    def __init__(self, breaks: Callable[[Reference, Operation], str | None]) -> None:
        self.breaks = breaks

    def build(self, configuration: Configuration) -> Any:
        raise NotImplementedError


@pytest.fixture
def factory(monkeypatch: pytest.MonkeyPatch) -> Any:
    def breaks(model: Reference, op: Operation) -> str | None:
        if isinstance(op, EvictDevice) and len(model.tree.by_path) > 2:
            return "sizes"
        if isinstance(op, EvictDevice) and not model.device_leaves():
            return "device-leaves"
        return None

    monkeypatch.setattr(replaying, "in_lockstep", FakeLockstep)
    return FakeFactory(breaks)


def test_illegal_operations_are_skipped_and_gone_from_the_result(factory: Any) -> None:
    small = Configuration(device_slots=16, host_slots=24)
    long = trace_of(
        Unlock((5,)),
        Insert((1, 2, 3)),
        Insert((1, 5, 3, 4)),
        Lock((1, 5, 3, 4)),
        Insert((7, 8, 9)),
        EvictDevice(2),
        Insert((4,)),
        configuration=small,
    )
    assert performed(factory, long).operations == long.operations[1:-1]
    least = minimize_on(factory, long)
    assert least.configuration.host_slots == 2
    again = replay(factory, least)
    assert again.illegal is None
    assert again.divergence is not None
    assert again.divergence.law == "sizes"
    assert len(least.operations) == 3
    assert isinstance(least.operations[-1], EvictDevice)


def test_only_the_same_finding_counts(factory: Any) -> None:
    insert, evict = Insert((1,)), EvictDevice(1)
    trace = trace_of(insert, evict, configuration=Configuration())
    assert SameFinding(factory, ("law", "device-leaves", ""))(trace)
    assert not SameFinding(factory, ("law", "sizes", ""))(trace)
    assert not SameFinding(factory, ("law", "sizes", ""))(
        trace.with_(configuration=Configuration(host_slots=1))
    )
    with pytest.raises(NotReproduced, match="nothing to minimize"):
        minimize_on(factory, trace_of(insert, configuration=Configuration()))


def test_a_replay_stops_at_what_is_illegal_or_goes_on_without_it(factory: Any) -> None:
    trace = trace_of(Insert((1,)), Unlock((1,)), Match((1,)), configuration=Configuration())
    steps: list[Step] = []
    stopped = replay(factory, trace, watch=lambda step, _: steps.append(step))
    assert stopped.operations == (Insert((1,)),)
    assert stopped.illegal is not None
    assert stopped.illegal[0] == 1
    assert [step.operation for step in steps] == [Insert((1,))]
    skipped = replay(factory, trace, on_illegal="skip")
    assert skipped.operations == (Insert((1,)), Match((1,)))
    assert skipped.illegal == stopped.illegal
    assert skipped.divergence is None
