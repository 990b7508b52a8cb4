"""When two states of an exploration are the same: when everything that both sides show is equal.

That is all facts of the model, and of the target its nodes with their slots, the free lists in
their order, the bytes in every slot, transfers and requests. Of the clocks only the order counts,
the model's and the target's own. Nothing is known of what a target does not show.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import TypeVar

from hicache_model.notes import Running
from hicache_model.policies import tlru
from hicache_model.reference import Reference
from hicache_model.snapshot import Node, Snapshot
from hicache_model.tree import TreeNode

T = TypeVar("T", Node, TreeNode)

DIGEST = 16
"""Bytes. Two of 10^12 different states have the same digest with a chance of 10^-15."""


def state_key(model: Reference, *shown: Snapshot) -> bytes:
    """A digest of the state, of what each target shows of it; the same in every process."""
    targets = [(_of_target(each), _reach(model, each)) for each in shown]
    state = (_of_model(model), targets)
    return blake2b(repr(state).encode(), digest_size=DIGEST).digest()


def _of_model(model: Reference) -> object:
    nodes = _in_order(model.tree.by_path.values())
    facts = [
        (
            *node.path.order(),
            node.length,
            node.on_device,
            node.on_host,
            node.lock_ref,
            node.host_lock,
            node.transfer,
            node.hit_count,
            node.priority,
        )
        for node in nodes
    ]
    requests = [
        [(number, _of_request(r)) for number, r in sorted(some.items())]
        for some in (model.requests, model.retracted)
    ]
    beside = model.component.state(), [model.component.key(node) for node in nodes]
    return facts, _orders(nodes), model.transfers(), _held(model), requests, beside


def _held(model: Reference) -> object:
    """Locks, pins with the place where they begin, host copies that may be reclaimed first, and
    how many transfers are done that were not noticed.
    """
    return (
        sorted(node.path.order() for node in model.locks),
        sorted((pin.node.path.order(), pin.start) for pin in model.host_locks),
        sorted((pin.node.path.order(), pin.start) for pin in model.load_pins.values()),
        [node.path.order() for node in model.duplicates],
        (model.arrived_writes, model.arrived_loads),
    )


def _of_request(running: Running) -> object:
    """With what a snapshot does not show of it: where its prompts end, and its priority."""
    anchor = running.anchor
    return (
        running.tokens,
        running.prompt_length,
        running.namespace,
        running.priority,
        running.computed,
        running.protected,
        running.inserted,
        None if anchor is None else anchor.path,
        running.freed,
        running.branch,
        running.tracked,
        running.outputs,
    )


def _of_target(shown: Snapshot) -> object:
    """What the model does not have; in all else the two are known to agree."""
    nodes = _in_order(node for node in shown.nodes.values() if node is not None)
    return (
        [(node.device, node.host) for node in nodes],
        _orders(nodes),
        tuple(shown.device_free),
        tuple(shown.host_free),
        [(transfer.device, transfer.host, transfer.arrived) for transfer in shown.transfers],
        [request.row for _, request in sorted(shown.requests.items())],
        [saved.host for _, saved in sorted(shown.retracted.items())],
        _content(shown.device_kv),
        _content(shown.host_kv),
        _of_component(shown),
    )


def _of_component(shown: Snapshot) -> object:
    """What the model does not have of a component beside full attention: slots and bytes."""
    state, nodes = shown.component, _in_order(n for n in shown.nodes.values() if n is not None)
    if state is None:
        return None
    return (
        [node.component and (node.component.device, node.component.host) for node in nodes],
        tuple(state.device_free),
        tuple(state.host_free),
        tuple(state.device_kv),
        tuple(state.host_kv),
        [(t.component_device, t.component_host) for t in shown.transfers],
    )


def _reach(model: Reference, shown: Snapshot) -> object:
    """What hung below each node once, where the policy reads it."""
    if model.configuration.eviction_policy != tlru.__name__:
        return None
    real = _in_order(node for node in shown.nodes.values() if node is not None)
    return [n.reach for n in _in_order(model.tree.by_path.values())], [n.reach for n in real]


def _in_order(nodes: Iterable[T]) -> list[T]:
    return sorted(nodes, key=lambda node: node.path.order())


def _orders(nodes: Sequence[Node] | Sequence[TreeNode]) -> tuple[list[int], list[int]]:
    """Who was used, and who was made, before whom: all that a policy can read of a clock."""
    return _order(nodes, lambda node: node.last_access), _order(nodes, lambda node: node.creation)


def _order(
    nodes: Sequence[Node] | Sequence[TreeNode], tick: Callable[[Node | TreeNode], int]
) -> list[int]:
    ticks = sorted({tick(node) for node in nodes})
    rank = {value: index for index, value in enumerate(ticks)}
    return [rank[tick(node)] for node in nodes]


def _content(content: Sequence[int] | Mapping[int, int]) -> object:
    return sorted(content.items()) if isinstance(content, Mapping) else tuple(content)
