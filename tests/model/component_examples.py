"""For every law of components a step that breaks it, made from a good one by the smallest change.

The good one: [1] above [1, 2], and a window of one token. [1] is a tombstone whose window the host
has; [1, 2] is locked, from its own token on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import attrs

from hicache_model import operations as ops
from hicache_model.configuration import Configuration
from hicache_model.fingerprint import fingerprints
from hicache_model.laws import Step
from hicache_model.outcomes import Evicted
from hicache_model.snapshot import (
    ComponentState,
    Node,
    NodeComponent,
    Path,
    Snapshot,
    Transfer,
)
from tests.model.law_examples import Change, Example, after, asks, node

ONE, ONE_TWO = Path(None, (1,)), Path(None, (1, 2))
FIRST, SECOND = fingerprints(None, (1, 2))
CONFIGURATION = Configuration(
    device_slots=4, host_slots=4, component="swa", window=1, component_slots=4
)
STATE = ComponentState(
    evictable_size=0,
    protected_size=1,
    device_free=(2, 3, 4),
    host_free=(1, 2, 3),
    lru=(ONE_TWO,),
    host_lru=(ONE,),
    locks=((ONE_TWO, 1),),
    mapping=(0, 0, 1, 0, 0),
    device_kv=(0, SECOND, 0, 0, 0),
    host_kv=(FIRST, 0, 0, 0),
)
SNAPSHOT = Snapshot(
    {
        ONE: Node(
            ONE, 1, (1,), (0,), 1, 0, False, False, component=NodeComponent(None, (0,), 0, 0)
        ),
        ONE_TWO: Node(
            ONE_TWO, 1, (2,), None, 1, 0, False, False, component=NodeComponent((1,), None, 1, 0)
        ),
    },
    evictable_size=0,
    protected_size=2,
    device_leaf_count=0,
    host_leaf_count=0,
    device_free=(3, 4),
    host_free=(1, 2, 3),
    locks=(ONE_TWO,),
    device_kv=(0, FIRST, SECOND, 0, 0),
    host_kv=(FIRST, 0, 0, 0),
    component=STATE,
)


@attrs.frozen
class ComponentExample(Example):
    def good(self) -> Step:
        step = Step(CONFIGURATION, ops.EvictDevice(1), Evicted(0), SNAPSHOT, SNAPSHOT)
        return attrs.evolve(step, host_leaf="no_child")


def example(name: str, law: str, breaks: Change, *also: str) -> ComponentExample:
    return ComponentExample(name, law, (), breaks, also)


def state(**changes: Any) -> Change:
    def change(snapshot: Snapshot) -> ComponentState:
        assert snapshot.component is not None
        return attrs.evolve(snapshot.component, **changes)

    return after(component=change)


def part(path: Path, **changes: Any) -> Callable[[Snapshot], Snapshot]:
    def change(snapshot: Snapshot) -> Snapshot:
        old = node(snapshot, path)
        assert old.component is not None
        new = attrs.evolve(old, component=attrs.evolve(old.component, **changes))
        return attrs.evolve(snapshot, nodes={**snapshot.nodes, path: new})

    return change


def part_after(path: Path, **changes: Any) -> Change:
    return lambda step: attrs.evolve(step, after=part(path, **changes)(step.after))


def part_before(path: Path, **changes: Any) -> Change:
    return lambda step: attrs.evolve(step, before=part(path, **changes)(SNAPSHOT))


def both(*changes: Change) -> Change:
    def change(step: Step) -> Step:
        for one in changes:
            step = one(step)
        return step

    return change


def component_examples() -> Iterator[ComponentExample]:
    unlocked = both(
        part_after(ONE_TWO, lock_ref=0),
        state(locks=(), evictable_size=1, protected_size=0),
        part_before(ONE_TWO, lock_ref=0),
    )
    yield example(
        "what the host has of a node that left it",
        "component-in-step",
        lambda step: attrs.evolve(
            step,
            configuration=CONFIGURATION.with_(write_policy="write_through"),
            after=attrs.evolve(
                step.after,
                nodes={
                    **step.after.nodes,
                    ONE: attrs.evolve(node(step.after, ONE), host=None),
                },
                host_free=(0, 1, 2, 3),
            ),
        ),
    )
    yield example(
        "a slot too many",
        "component-lengths",
        both(part_after(ONE, host=(0, 1)), state(host_free=(2, 3))),
    )
    yield example("a slot that is lost", "component-slots", state(device_free=(3, 4)))
    yield example("a slot that is free twice", "component-slots", state(host_free=(1, 2, 3, 3)))
    yield example(
        "a mapping that outlives the value (#27586)",
        "component-mapping",
        state(mapping=(0, 2, 1, 0, 0)),
    )
    yield example("bytes of another", "component-bytes", state(device_kv=(0, FIRST, 0, 0, 0)))
    yield example("a value that is not listed", "component-lru", state(host_lru=()))
    yield example("a size that was not changed", "component-sizes", state(evictable_size=1))
    yield example("a lock too few", "component-lock-balance", state(locks=()))
    yield example(
        "a lock without its window",
        "window-held",
        both(
            state(locks=((ONE_TWO, 2),), evictable_size=1, protected_size=0),
            part_after(ONE_TWO, lock_ref=0),
            part_before(ONE_TWO, lock_ref=0),
        ),
    )
    yield example(
        "a locked value that went",
        "component-locked-stays",
        both(
            part_after(ONE_TWO, device=None),
            state(device_free=(1, 2, 3, 4), lru=(), mapping=(0, 0, 0, 0, 0), protected_size=0),
            lambda step: attrs.evolve(step, outcome=Evicted(0, 1)),
        ),
    )
    yield example(
        "an eviction that leaves what it could free",
        "component-progress",
        both(unlocked, asks(ops.EvictDevice(1, "swa"))),
    )
    yield example(
        "a report of what was not freed",
        "component-progress",
        lambda step: attrs.evolve(step, outcome=Evicted(0, 1)),
    )
    yield example(
        "the newest went first",
        "component-order",
        lambda step: attrs.evolve(
            step,
            operation=ops.EvictHost(1, "swa"),
            before=attrs.evolve(
                part(ONE_TWO, host=(1,))(SNAPSHOT),
                component=attrs.evolve(STATE, host_lru=(ONE, ONE_TWO)),
            ),
        ),
    )
    yield example(
        "a slot that is written and was given away",
        "component-pinned-until-ack",
        after(
            transfers=lambda snapshot: (
                Transfer("write", False, (ONE_TWO,), (2,), (), component_device=(3,)),
            )
        ),
        "lock-balance",
    )
    yield example(
        "a mapping that a reset keeps",
        "component-reset",
        lambda step: attrs.evolve(
            step,
            operation=ops.Reset(),
            after=attrs.evolve(
                SNAPSHOT,
                nodes={},
                protected_size=0,
                device_free=(1, 2, 3, 4),
                host_free=(0, 1, 2, 3),
                locks=(),
                component=attrs.evolve(
                    STATE,
                    protected_size=0,
                    device_free=(1, 2, 3, 4),
                    host_free=(0, 1, 2, 3),
                    lru=(),
                    host_lru=(),
                    locks=(),
                ),
            ),
        ),
        "component-mapping",
    )


COMPONENT_EXAMPLES = (*component_examples(),)
