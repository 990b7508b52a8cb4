"""The alphabet of an exploration: every operation that is tried in a state, and its arguments.

It is small, and complete in what it says: no operation of it that is legal is left out, except one
that differs from another in nothing but the names of token ids. What is not in it is not explored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain, product
from typing import Any

from hicache_model import operations as ops
from hicache_model import rules
from hicache_model.keys import tokens_of
from hicache_model.operations import Operation
from hicache_model.reference import Reference
from hicache_verify.exploration.bound import Bound, Operations

NAMESPACE = "a"
PRIORITY = 1
REQUESTS = 2
"""Requests that run at the same time, at most."""


def alphabet(model: Reference, bound: Bound, path: Operations) -> Iterator[Operation]:
    """Every operation to try in the state that ``path`` has led ``model`` to."""
    for operation in _candidates(model, bound, path):
        if rules.refusal(model, operation) is None:
            yield operation


def _candidates(model: Reference, bound: Bound, path: Operations) -> Iterator[Operation]:
    spaces = (None, NAMESPACE) if "namespaces" in bound.extras else (None,)
    for tokens, namespace in product(list(_token_lists(model, bound, path)), spaces):
        yield from _of_tokens(model, bound, tokens, namespace)
    yield from _evictions(model)
    yield from _transfers(model)
    yield from _held(model)
    if "requests" in bound.extras:
        yield from _of_requests(model, bound, path)
    if model.tree.by_path:
        yield ops.Reset()


def _of_tokens(
    model: Reference, bound: Bound, tokens: tuple[int, ...], namespace: str | None
) -> Iterator[Operation]:
    """What is done with a list of tokens; lookups only of what is cached, at least in part."""
    for priority, chunked in product(_priorities(bound), _chunked(bound)):
        yield ops.Insert(tokens, namespace, priority, chunked)
    found = list(model.tree.peek(model.tree.whole_pages(namespace, tokens)))
    if found:
        yield ops.Match(tokens, namespace)
        if "requests" in bound.extras:
            yield ops.Touch(tokens, namespace)
    if sum(shared for _, shared in found) == len(tokens) - model.tree.unpaired:
        if not found[-1][0].on_device:
            yield ops.LoadBack(tokens, namespace)
        if "locks" in bound.extras:
            yield ops.Lock(tokens, namespace)
            yield ops.LockHost(tokens, namespace)
    if "requests" in bound.extras and len(model.requests) < REQUESTS:
        number = model.free_number()
        for priority, chunk, outputs in product(
            _priorities(bound), list(_chunks(model, len(tokens))), _outputs(model, len(tokens))
        ):
            yield ops.BeginRequest(number, tokens, chunk, namespace, priority, outputs)


def _priorities(bound: Bound) -> tuple[int, ...]:
    return (0, PRIORITY) if "priorities" in bound.extras else (0,)


def _chunked(bound: Bound) -> tuple[bool, ...]:
    return (False, True) if "chunked" in bound.extras else (False,)


def _chunks(model: Reference, length: int) -> Iterator[int]:
    """All of it at once, or a part in whole pages."""
    yield length
    yield from range(model.page_size, length, model.page_size)


def _outputs(model: Reference, length: int) -> range:
    """How many of its tokens a request may have decoded before it was retracted."""
    return range(length if model.configuration.strip_thinking else 1)


def _evictions(model: Reference) -> Iterator[Operation]:
    """Any number of pages up to all that a tier holds."""
    configuration, page = model.configuration, model.page_size
    used_device = configuration.device_slots - model.device_free()
    used_host = configuration.host_slots - model.host_free()
    yield from (ops.EvictDevice(n) for n in range(page, used_device + 1, page))
    yield from (ops.EvictHost(n) for n in range(page, used_host + 1, page))
    kind, beside, page = configuration.component, model.component, configuration.component_page
    yield from (ops.EvictDevice(n, kind) for n in range(page, beside.on_device() + 1, page))
    yield from (ops.EvictHost(n, kind) for n in range(page, beside.on_host() + 1, page))


def _transfers(model: Reference) -> Iterator[Operation]:
    if model.queued_loads:
        yield ops.StartLoads()
    if model.queued_writes:
        yield ops.StartWrites()
    yield from (ops.CompleteWrites(n + 1) for n in range(len(model.writes)))
    yield from (ops.CompleteLoads(n + 1) for n in range(len(model.started_loads)))


def _held(model: Reference) -> Iterator[Operation]:
    for node in dict.fromkeys(model.locks):
        yield ops.Unlock(tokens_of(node.path.tokens), node.path.namespace)
    for node in dict.fromkeys(model.pinned_nodes()):
        yield ops.UnlockHost(tokens_of(node.path.tokens), node.path.namespace)


def _of_requests(model: Reference, bound: Bound, path: Operations) -> Iterator[Operation]:
    fresh = min(bound.tokens, _appeared(path) + 1)
    endings: tuple[Callable[[int], Any], ...] = (
        ops.FinishRequest,
        ops.RetractRequest,
        ops.RetractToHost,
        ops.AbortRequest,
    )
    for number, running in model.requests.items():
        left = running.prompt_length - running.computed
        if left > 0:
            yield from (ops.ExtendRequest(number, chunk) for chunk in _chunks(model, left))
        yield from (ops.DecodeRequest(number, token) for token in range(1, fresh + 1))
        yield from (end(number) for end in endings)
    for number in model.retracted:
        yield ops.ResumeRequest(number)
        yield ops.AbortRequest(number)


# -- tokens ----------------------------------------------------------------------------------------


def _token_lists(model: Reference, bound: Bound, path: Operations) -> Iterator[tuple[int, ...]]:
    """Lists of whole pages up to the device's size, each page one id; ids appear in order.

    Where keys are pairs, with a token more: that of the last pair.
    """
    appeared, unpaired = _appeared(path), model.tree.unpaired
    most = model.configuration.device_slots // model.page_size
    for length in range(1, most + 1):
        for ids in product(range(1, bound.tokens + 1), repeat=length + unpaired):
            if _in_order_of_appearance(ids, appeared):
                pages = tuple(page for page in ids[:length] for _ in range(model.page_size))
                yield pages + ids[length:]


def _appeared(path: Operations) -> int:
    """The greatest token id so far; 0 for none."""
    lists = ((*getattr(op, "tokens", ()), getattr(op, "token", 0)) for op in path)
    return max(chain.from_iterable(lists), default=0)


def _in_order_of_appearance(pages: tuple[int, ...], appeared: int) -> bool:
    for page in pages:
        if page > appeared + 1:
            return False
        appeared = max(appeared, page)
    return True
