"""An exploration misses no state and no shorter trace, and says what it has shown."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import attrs
import pytest

from hicache_impl.native.target import NativeFactory
from hicache_model import operations as ops
from hicache_model.components.facts import Facts, Segment
from hicache_model.configuration import WRITE_POLICIES, Configuration
from hicache_model.dialects import Dialect
from hicache_model.notes import Pin, Running
from hicache_model.operations import EvictDevice, Insert, Operation
from hicache_model.reference import Reference
from hicache_model.tree import TreeNode
from hicache_verify.exploration.alphabet import alphabet
from hicache_verify.exploration.bound import EXTRAS, Bound, UnknownExtra
from hicache_verify.exploration.explore import Expanded, Exploration, Found, Layer, State
from hicache_verify.exploration.joining import state_key
from hicache_verify.lockstep import Lockstep
from tests.verify.exhaustive import (
    DIALECT,
    SMALL,
    every_list,
    explored,
    modelled,
    name_free,
    search,
    shortest,
)
from tests.verify.hostile import agrees
from tests.verify.mimic import Factory, Mimic

# -- nothing is missed -----------------------------------------------------------------------------


@pytest.mark.parametrize("policy", WRITE_POLICIES)
def test_it_reaches_every_state_that_any_list_reaches(policy: str) -> None:
    """Joining, and trying names of token ids once, lose nothing: all lists are the witness."""
    configuration = SMALL.with_(write_policy=policy)
    bound = Bound(depth=3, tokens=2)
    paths = _states_by_path(bound, configuration)
    reached = {name_free(modelled(path, configuration), 2) for path in paths}
    due = {name_free(modelled(path, configuration), 2) for path in every_list(3, 2, configuration)}
    assert reached | {name_free(modelled(()), 2)} == due
    assert len(due) > 10


def _states_by_path(bound: Bound, configuration: Configuration) -> list[tuple[Operation, ...]]:
    """The list that led to each state which an exploration went on from, and to the last ones."""
    running = search(agrees(), bound, configuration)
    paths: list[tuple[Operation, ...]] = []
    join = running._join

    def spy(asked: Sequence[State], expanded: Expanded) -> list[State]:
        states = join(asked, expanded)
        paths.extend(state.operations for state in states)
        return states

    running._join = spy  # type: ignore[method-assign]
    assert not running.run().found
    return paths


@pytest.mark.parametrize("policy", WRITE_POLICIES)
def test_joining_changes_the_work_and_not_the_states(policy: str) -> None:
    configuration = SMALL.with_(write_policy=policy)
    joined = explored(agrees(), Bound(depth=4, tokens=1), configuration)
    apart = explored(agrees(), Bound(depth=4, tokens=1, join=False), configuration)
    assert joined.states == apart.states
    assert joined.transitions < apart.transitions


def spoiled(when: Callable[[Operation, Reference], bool]) -> Factory:
    """A target that has a page too many after an operation in a state."""

    def mishap(operation: Operation, mimic: Mimic) -> None:
        if when(operation, mimic.model):
            mimic.device.free.append(99)

    return Factory(mishap)


def evicted(model: Reference) -> int:
    return sum(not node.on_device for node in model.tree.by_path.values())


BUGS: dict[str, Callable[[Operation, Reference], bool]] = {
    "insert": lambda op, model: isinstance(op, Insert),
    "evict two": lambda op, model: op == EvictDevice(2),
    "insert beside an evicted node": lambda op, model: (
        isinstance(op, Insert) and evicted(model) > 0
    ),
    "match in a tree of two": lambda op, model: (
        isinstance(op, ops.Match) and len(model.tree.by_path) == 2
    ),
    "reset with two evicted": lambda op, model: isinstance(op, ops.Reset) and evicted(model) == 2,
}


@pytest.mark.parametrize("bug", BUGS)
def test_no_shorter_list_diverges_than_the_one_it_finds(bug: str) -> None:
    factory = spoiled(BUGS[bug])
    found = explored(factory, Bound(depth=4)).found
    assert {len(each.operations) for each in found} == {shortest(factory, depth=4, tokens=2)}


def test_what_a_target_hides_is_beyond_joining_and_within_reach_without_it() -> None:
    """Two lookups spoil this target, and change nothing that it shows."""

    def mishap(operation: Operation, mimic: Mimic) -> None:
        count = mimic.__dict__.setdefault("lookups", itertools.count(1))
        if isinstance(operation, ops.Match) and next(count) == 2:
            mimic.device.free.append(99)

    hides, tiny = Factory(mishap), Configuration(device_slots=1, host_slots=1)
    assert explored(hides, Bound(depth=9, tokens=1), tiny).exhausted
    (found,) = explored(hides, Bound(depth=4, join=False), tiny).found
    assert [type(op) for op in found.operations] == [ops.Insert, ops.Match, ops.Match]


def test_a_target_that_depends_on_more_than_its_operations_is_found_out() -> None:
    calls = itertools.count()

    def mishap(operation: Operation, mimic: Mimic) -> None:
        mimic.device.take = -(next(calls) % 2)

    found = explored(Factory(mishap), Bound(depth=3)).found
    assert "repeatable" in {each.divergence.law for each in found}


# -- the alphabet ----------------------------------------------------------------------------------


def test_with_all_extras_every_operation_is_tried() -> None:
    gone = (Insert((1, 2)), EvictDevice(2))
    loading = (*gone, ops.LoadBack((1, 2)), ops.StartLoads())
    paths = (
        (Insert((1,)), ops.Lock((1,))),
        (*gone, ops.LockHost((1,))),
        loading,
        loading[:-1],
        (ops.BeginRequest(0, (1, 2), 1),),
        (ops.BeginRequest(0, (1,), 1),),
    )
    tried = {op for path in paths for op in letters(path)}
    tried.update(letters(gone))
    through = SMALL.with_(write_policy="write_through")
    tried.update(letters((Insert((1,)),), through))
    newest = Dialect.of("0.5.23", "unified")
    decoding = ops.BeginRequest(0, (1,), 1)
    tried.update(letters((Insert((1,)),), through, newest))
    tried.update(letters((decoding,), through, newest))
    tried.update(letters((decoding, ops.RetractToHost(0)), through, newest))
    assert {type(op) for op in tried} == set(ops.OPERATIONS)
    for name in ("namespace", "priority", "chunked"):
        assert any(getattr(op, name, None) for op in tried)


def letters(
    path: tuple[Operation, ...], configuration: Configuration = SMALL, dialect: Dialect = DIALECT
) -> list[Operation]:
    model = modelled(path, configuration, dialect)
    found = list(alphabet(model, Bound(4, extras=EXTRAS), path))
    assert len(found) == len(set(found))
    return found


def test_without_extras_it_has_none_of_them() -> None:
    path = (Insert((1, 2)), EvictDevice(2), Insert((1,)))
    kinds = {type(op) for op in alphabet(modelled(path), Bound(4), path)}
    assert kinds == {ops.Insert, ops.Match, ops.EvictDevice, ops.EvictHost, ops.LoadBack, ops.Reset}


def test_token_ids_appear_in_order() -> None:
    first = [op.tokens for op in alphabet(modelled(()), Bound(4, tokens=3), ())]  # type: ignore[union-attr]
    assert first == [(1,), (1, 1), (1, 2)]


def test_an_unknown_extra_is_refused() -> None:
    with pytest.raises(UnknownExtra, match=r"no 'lokcs'; it may have locks, requests"):
        Bound(4, extras=("lokcs",))


# -- when two states are the same ------------------------------------------------------------------


def key(*operations: Operation) -> bytes:
    lockstep = Lockstep(NativeFactory(), SMALL)
    for operation in operations:
        assert lockstep.step(operation) is None
    return state_key(lockstep.model, lockstep.actual)


def test_a_state_is_itself_whenever_it_is_reached() -> None:
    assert key(Insert((1,)), ops.Match((1,))) == key(Insert((1,)))


@pytest.mark.parametrize(
    "operations",
    [
        (Insert((2,)),),
        (Insert((1,)), EvictDevice(1)),
        (Insert((1, 1)),),
        (Insert((1,)), ops.Lock((1,))),
        (Insert((1,), priority=1),),
        (Insert((1,), namespace="a"),),
        (Insert((1,)), ops.BeginRequest(0, (1, 2), 2)),
        (Insert((2,)), EvictDevice(1), ops.EvictHost(1), Insert((1,))),  # what lay in the slot
    ],
)
def test_whatever_shows_makes_another_state(operations: tuple[Operation, ...]) -> None:
    assert key(*operations) != key(Insert((1,)))


FACTS: dict[type, str] = {
    TreeNode: "path length parent on_device on_host lock_ref host_lock transfer hit_count priority "
    "last_access creation reach children component",
    Running: "tokens prompt_length namespace priority computed protected inserted anchor freed "
    "branch tracked number outputs",
    Facts: "on_device on_host lock_ref host_lock used host_used written_by loaded_by",
    Segment: "node start",
    Pin: "node start",
}
HELD = (
    "requests retracted locks host_locks load_pins duplicates writes queued_writes queued_loads "
    "arrived_writes arrived_loads"
)


def test_a_new_fact_of_the_model_is_not_forgotten() -> None:
    """Whatever an operation may depend on belongs into ``joining``; put it there first."""
    for owner, names in FACTS.items():
        assert {field.name for field in attrs.fields(owner)} == set(names.split())
    facts = {name for name in vars(modelled(())) if not name.startswith("_")}
    fixed = {"configuration", "dialect", "page_size", "write_back", "policy", "is_host_leaf"}
    assert facts - fixed == {*HELD.split(), "started_loads", "tree", "component"}


def test_the_order_of_use_is_part_of_a_state() -> None:
    both = Insert((1,)), Insert((2,))
    assert key(*both) != key(*both, ops.Match((1,)))
    assert key(*both) == key(*both, ops.Match((2,)))


# -- what was shown --------------------------------------------------------------------------------


def test_where_nothing_new_is_left_it_holds_for_lists_of_any_length() -> None:
    tiny = Configuration(device_slots=1, host_slots=1)
    result = explored(agrees(), Bound(depth=50, tokens=1), tiny)
    assert result.exhausted
    assert result.sentence() == (
        "no divergence within any number of operations over 1 token id, device 1 and host 1 "
        "tokens, page size 1, write_back, lru (insert, match, evict, load back, start and complete "
        "transfers, reset)"
    )


def test_the_sentence_says_how_far_it_got() -> None:
    result = explored(agrees(), Bound(depth=2, extras=("locks",)))
    assert (result.depth, result.exhausted, result.complete) == (2, False, True)
    assert result.sentence() == (
        "no divergence within 2 operations over 2 token ids, device 2 and host 2 tokens, page size "
        "1, write_back, lru (insert, match, evict, load back, start and complete transfers, reset, "
        "locks)"
    )


def test_the_sentence_names_the_length_of_the_shortest() -> None:
    result = explored(spoiled(BUGS["evict two"]), Bound(depth=4))
    assert result.sentence().startswith(
        "the shortest divergence has 2 operations, none shorter exists, over "
    )


def test_a_layer_that_was_cut_short_proves_nothing() -> None:
    layers = [Layer(1, 3, 3, True, 1.0), Layer(2, 5, 9, False, 1.0)]
    result = Exploration(Bound(4), SMALL, layers)
    assert (result.depth, result.complete, result.states) == (1, False, 9)
    assert "within 1 operation over" in result.sentence()


def test_a_divergence_is_reported_once() -> None:
    found = explored(spoiled(BUGS["insert"]), Bound(depth=2)).found
    assert isinstance(found[0], Found)
    assert len(found) == 1
