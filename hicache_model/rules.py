"""Which operations are legal in a state: what a real scheduler can ask for, and nothing else.

``refusal`` answers why not, in words for a person who wrote a trace by hand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from hicache_model import operations as ops
from hicache_model.notes import Running
from hicache_model.reference import STARTED_LOADS, Reference
from hicache_model.tree import TreeNode


def refusal(reference: Reference, operation: ops.Operation) -> str | None:
    """None for a legal operation, otherwise one sentence that says why it is not."""
    rule = _RULES.get(type(operation))
    return rule(reference, operation) if rule else None


def reclaimable(reference: Reference) -> int:
    """Device tokens that eviction can free: the unlocked ones, less what pins keep in place."""
    evictable, _ = reference.sizes()
    return evictable - sum(n.length for n in reference.stuck() if n.on_device and n.lock_ref == 0)


def cached_lengths(on_path: Iterable[tuple[TreeNode, int]]) -> tuple[int, int, int]:
    """Tokens on the device, only on the host, and unlocked on the device, of what a path shares."""
    device = host = unlocked = 0
    for node, shared in on_path:
        if node.on_device:
            device += shared
            unlocked += shared if node.lock_ref == 0 else 0
        else:
            host += shared
    return device, host, unlocked


def touches(reference: Reference) -> bool:
    """Whether the scheduler refreshes the prefixes of waiting requests."""
    return (
        reference.dialect.waiting_prefixes == "touched"
        and reference.configuration.eviction_policy == "lru"
    )


def _touch(reference: Reference, op: ops.Touch) -> str | None:
    if touches(reference):
        return None
    return "the prefixes of waiting requests are touched from 0.5.22 on, and only under lru"


def _insert(reference: Reference, op: ops.Insert) -> str | None:
    path = reference.tree.whole_pages(op.namespace, op.tokens)
    if not path.tokens:
        count = len(op.tokens)
        few = f"make {count - 1} pairs," if reference.tree.bigram else "are"
        return f"{count} tokens {few} less than one page of {reference.page_size}"
    free = reference.allocatable()
    if len(path.tokens) > free:
        if reference.component.tokens_of_room() == 0:
            return "the pool of its component has no free slot; evict first"
        return f"it needs {len(path.tokens)} free device slots and {free} are free; evict first"
    return None


def _evict(reference: Reference, op: ops.EvictDevice | ops.EvictHost) -> str | None:
    if op.component in ("full", reference.configuration.component):
        return None
    return f"this cache has no component {op.component}"


def _start_loads(reference: Reference, op: ops.StartLoads) -> str | None:
    if len(reference.started_loads) >= STARTED_LOADS and reference.queued_loads:
        return f"{STARTED_LOADS} load transfers are in flight already; complete one first"
    return None


def _start_writes(reference: Reference, op: ops.StartWrites) -> str | None:
    if reference.dialect.writes_start != "queued":
        return "this cache starts each write when it decides on it"
    return None


def _lock(reference: Reference, op: ops.Lock) -> str | None:
    path = reference.tree.whole_pages(op.namespace, op.tokens)
    device, _, _ = cached_lengths(reference.tree.peek(path))
    return None if device else "nothing of its prefix is on the device, so there is no node to lock"


def _lock_host(reference: Reference, op: ops.LockHost) -> str | None:
    if reference.dialect.host_pins == "none":
        return "nothing pins a host copy in this cache"
    path = reference.tree.whole_pages(op.namespace, op.tokens)
    if any(node.on_host for node, _ in reference.tree.peek(path)):
        return None
    return "nothing of its prefix is backed up, so there is no host copy to pin"


def _held(
    holders: Callable[[Reference], Iterable[TreeNode]], taken_by: str
) -> Callable[[Reference, Any], str | None]:
    def rule(reference: Reference, op: ops.Unlock | ops.UnlockHost) -> str | None:
        node = reference.tree.named(op.namespace, op.tokens)
        if node is None or node not in holders(reference):
            return f"no {taken_by} holds a node that ends exactly there"
        return None

    return rule


def _complete_writes(reference: Reference, op: ops.CompleteWrites) -> str | None:
    if op.count > len(reference.writes):
        return f"{len(reference.writes)} writes are in flight"
    return None


def _complete_loads(reference: Reference, op: ops.CompleteLoads) -> str | None:
    if op.count > len(reference.started_loads):
        return f"{len(reference.started_loads)} load transfers are in flight"
    return None


def _reset(reference: Reference, op: ops.Reset) -> str | None:
    busy = {
        "a request runs": reference.requests,
        "a retracted request waits": reference.retracted,
        "a lock is held": reference.locks,
        "a host copy is pinned": reference.host_locks,
        "a write is queued or in flight": reference.queued_writes or reference.writes,
        "a load is queued or in flight": reference.queued_loads or reference.started_loads,
    }
    reasons = [reason for reason, members in busy.items() if members]
    return f"a cache is reset only when idle, and {reasons[0]}" if reasons else None


def _begin_request(reference: Reference, op: ops.BeginRequest) -> str | None:
    configuration = reference.configuration
    if op.request in reference.requests:
        return f"request {op.request} runs already"
    if op.request in reference.retracted:
        return f"request {op.request} was retracted and waits; resume or abort it"
    if len(reference.requests) >= configuration.requests:
        return f"{configuration.requests} requests run already, as many as there are rows"
    if op.outputs >= len(op.tokens):
        return f"{op.outputs} of its {len(op.tokens)} tokens are outputs, and its prompt has some"
    if len(op.tokens) >= configuration.context_length:
        return f"{len(op.tokens)} tokens do not fit a context of {configuration.context_length}"
    on_path = [*reference.tree.peek(reference.tree.whole_pages(op.namespace, op.tokens[:-1]))]
    device, host, unlocked = cached_lengths(on_path)
    host += reference.component.host_tokens(on_path)
    if host and len(reference.started_loads) >= STARTED_LOADS:
        return f"{STARTED_LOADS} load transfers are in flight already; complete one first"
    if (stuck := _loads_cannot_start(reference)) is not None:
        return stuck
    if op.chunk < len(op.tokens) and op.chunk % reference.page_size:
        return f"a chunk that does not end the prompt is whole pages of {reference.page_size}"
    device = reference.component.usable_length(on_path, device)
    needed = len(op.tokens) - device + (reference.page_size if reference.page_size > 1 else 0)
    return _no_room(reference, needed, unlocked) or reference.component.no_room(
        needed, on_path, inserts=1, begins=True
    )


def _loads_cannot_start(reference: Reference) -> str | None:
    """Every batch that computes prompts starts the loads that are queued."""
    if reference.queued_loads and len(reference.started_loads) >= STARTED_LOADS:
        return "loads are queued and no transfer can start; complete one first"
    return None


def _no_room(
    reference: Reference, needed: int, soon_locked: int = 0, inserts: int = 0
) -> str | None:
    room = reference.device_free() + reclaimable(reference) - soon_locked
    if needed > room:
        return f"it may need {needed} device slots and {room} are free or can be freed"
    return reference.component.no_room(needed, (), inserts)


def _running(check: Callable[[Reference, Running, Any], str | None]) -> Callable[..., str | None]:
    def rule(reference: Reference, op: Any) -> str | None:
        running = reference.requests.get(op.request)
        if running is None:
            return f"request {op.request} does not run"
        return check(reference, running, op)

    return rule


def _extend(reference: Reference, running: Running, op: ops.ExtendRequest) -> str | None:
    left = running.prompt_length - running.computed
    if left <= 0:
        return f"request {op.request} has its whole prompt computed"
    if (stuck := _loads_cannot_start(reference)) is not None:
        return stuck
    anywhere = reference.component.chunks_end_anywhere
    if op.chunk < left and op.chunk % reference.page_size and not anywhere:
        return f"a chunk that does not end the prompt is whole pages of {reference.page_size}"
    inserts = 2 if op.chunk >= left else 1
    return _no_room(reference, reference.pages(min(op.chunk, left)), inserts=inserts)


def _decode(reference: Reference, running: Running, op: ops.DecodeRequest) -> str | None:
    if running.prefilling:
        return f"request {op.request} still has prompt to compute"
    if len(running.tokens) + 1 >= reference.configuration.context_length:
        return f"request {op.request} is at the end of its context"
    return _no_room(reference, reference.page_size)


def _finish(reference: Reference, running: Running, op: ops.FinishRequest) -> str | None:
    if running.prefilling:
        return f"request {op.request} still has prompt to compute; abort or retract it"
    return None


def saves_retracted(reference: Reference) -> bool:
    """Whether the KV of a retracted request can wait in the host pool."""
    return (
        reference.dialect.retracted_kv == "host_pool"
        and reference.configuration.component == "full"
    )


def _retract_to_host(reference: Reference, running: Running, op: ops.RetractToHost) -> str | None:
    if not saves_retracted(reference):
        return "this cache has no place on the host for what is retracted"
    if running.prefilling:
        return f"request {op.request} still has prompt to compute; what is kept is what decodes"
    return None


def _resume(reference: Reference, op: ops.ResumeRequest) -> str | None:
    running = reference.retracted.get(op.request)
    if running is None:
        return f"no request {op.request} waits on the host"
    if len(reference.requests) >= reference.configuration.requests:
        return f"{len(reference.requests)} requests run already, as many as there are rows"
    return _no_room(reference, reference.pages(running.computed))


def _abort(reference: Reference, op: ops.AbortRequest) -> str | None:
    if op.request in reference.retracted:
        return None
    return _running(_abort_running)(reference, op)


def _abort_running(reference: Reference, running: Running, op: ops.AbortRequest) -> str | None:
    if running.prefilling and reference.dialect.abort_in_prefill == "waits":
        return f"request {op.request} computes its prompt before an abort is heard"
    return None


_RULES: dict[type[Any], Callable[[Reference, Any], str | None]] = {
    ops.Touch: _touch,
    ops.Insert: _insert,
    ops.EvictDevice: _evict,
    ops.EvictHost: _evict,
    ops.StartLoads: _start_loads,
    ops.Lock: _lock,
    ops.LockHost: _lock_host,
    ops.Unlock: _held(lambda reference: reference.locks, "lock"),
    ops.UnlockHost: _held(lambda reference: reference.pinned_nodes(), "pin"),
    ops.StartWrites: _start_writes,
    ops.CompleteWrites: _complete_writes,
    ops.CompleteLoads: _complete_loads,
    ops.Reset: _reset,
    ops.BeginRequest: _begin_request,
    ops.ExtendRequest: _running(_extend),
    ops.DecodeRequest: _running(_decode),
    ops.FinishRequest: _running(_finish),
    ops.RetractRequest: _running(lambda reference, running, op: None),
    ops.RetractToHost: _running(_retract_to_host),
    ops.ResumeRequest: _resume,
    ops.AbortRequest: _abort,
}
