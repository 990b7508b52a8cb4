"""Copies between the tiers. The only module that knows a GPU from a CPU.

A transfer copies rows layer by layer on a side stream: writes (device to host) on one, loads (host
to device) on the other, each in the order of issue. It is done when its last row has arrived; until
then both ends must stay as they are, and whoever forgets that finds wrong bytes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, Protocol

import torch

from hicache_impl.native.kv import KVBuffers, index_of
from hicache_impl.native.pools import Slots


class Transfer(Protocol):
    """A copy that was issued."""

    def done(self) -> bool:
        """Whether every row has arrived."""

    def wait(self) -> None:
        """Return when every row has arrived, of this transfer and of those before it."""

    def wait_layer(self, layer: int) -> None:
        """What runs next on the device sees the rows of this layer."""


class Engine(Protocol):
    """Issues transfers between one device buffer and one host buffer."""

    def write(self, device: Slots, host: Slots) -> Transfer:
        """Device to host, row ``device[i]`` to row ``host[i]``."""

    def load(self, device: Slots, host: Slots) -> Transfer:
        """Host to device, row ``host[i]`` to row ``device[i]``."""


def usable_device(name: str) -> Any:
    """The torch device called ``name``. ValueError where torch has none of that name here."""
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError) as error:
        raise ValueError(f"torch knows no device {name!r:.60}; use cpu or cuda") from error
    if device.type not in ("cpu", "cuda"):
        raise ValueError(f"device {name!r:.60} is neither cpu nor cuda; use one of these")
    if device.type == "cuda":
        _check_gpu(name, device.index or 0)
    return device


def _check_gpu(name: str, number: int) -> None:
    """By their count, since ``is_available`` would keep CUDA from children that are forked."""
    count = torch.cuda.device_count()
    if count == 0:
        raise ValueError(f"device {name!r:.60} is not here: torch sees no GPU; use cpu")
    if number >= count:
        raise ValueError(f"device {name!r:.60} is not here; the last is cuda:{count - 1}")


def wants_pinned_host(device: str) -> bool:
    """Whether host memory must be pinned for copies to run beside the computation."""
    return usable_device(device).type == "cuda"


def engine_for(
    device_kv: KVBuffers, host_kv: KVBuffers, device: str, copies: str, delay: int
) -> Engine:
    """Streams of the GPU where ``device`` is one, else queues that run when somebody waits."""
    place = usable_device(device)
    if place.type == "cuda":
        return CudaEngine(device_kv, host_kv, place, delay)
    return CpuEngine(device_kv, host_kv, early=copies == "early")


class Copy:
    """Rows of one tier that go to rows of the other. ``move(layer)`` issues one layer's."""

    def __init__(
        self, source: KVBuffers, target: KVBuffers, source_slots: Slots, target_slots: Slots
    ) -> None:
        self.source, self.target = source, target
        self.layers = target.layers
        self.source_rows, self.target_rows = index_of(source_slots), index_of(target_slots)

    def move(self, layer: int) -> None:
        rows = self.source.kv[layer].index_select(1, self.source_rows)
        self.target.kv[layer].index_copy_(1, self.target_rows, rows)


class AsynchronousCopy:
    """As ``Copy``, stretch by stretch: a GPU and pinned memory know no other asynchronous way."""

    def __init__(
        self, source: KVBuffers, target: KVBuffers, source_slots: Slots, target_slots: Slots
    ) -> None:
        self.source, self.target = source, target
        self.layers = target.layers
        self.runs = tuple(runs(source_slots, target_slots))

    def move(self, layer: int) -> None:
        source, target = self.source, self.target
        for start, to, length in self.runs:
            ours, theirs = slice(start, start + length), slice(to, to + length)
            target.k[layer][theirs].copy_(source.k[layer][ours], non_blocking=True)
            target.v[layer][theirs].copy_(source.v[layer][ours], non_blocking=True)


def runs(sources: Slots, targets: Slots) -> Iterator[tuple[int, int, int]]:
    """Stretches (source, target, length) in which both sides go up by one."""
    if not sources:
        return
    both = torch.stack([index_of(sources), index_of(targets)])
    breaks = (both.diff() != 1).any(dim=0).nonzero().flatten() + 1
    for start, end in pairwise([0, *breaks.tolist(), len(sources)]):
        yield sources[start], targets[start], end - start


# -- on a CPU --------------------------------------------------------------------------------------


class CpuEngine:
    """Two queues of copies; a copy's bytes move when it is issued (early) or reached (late)."""

    def __init__(self, device_kv: KVBuffers, host_kv: KVBuffers, *, early: bool) -> None:
        self.device_kv, self.host_kv = device_kv, host_kv
        self.writes, self.loads = CpuStream(early), CpuStream(early)

    def write(self, device: Slots, host: Slots) -> Transfer:
        return self.writes.issue(Copy(self.device_kv, self.host_kv, device, host))

    def load(self, device: Slots, host: Slots) -> Transfer:
        return self.loads.issue(Copy(self.host_kv, self.device_kv, host, device))


class CpuStream:
    """Transfers in order; the first is the next to move."""

    def __init__(self, early: bool) -> None:
        self.early = early
        self.queue: deque[CpuTransfer] = deque()

    def issue(self, copy: Copy) -> CpuTransfer:
        transfer = CpuTransfer(self, copy)
        if self.early:
            transfer.move_up_to(copy.layers)
        else:
            self.queue.append(transfer)
        return transfer

    def run_before(self, transfer: CpuTransfer) -> None:
        """Finish everything that was issued before ``transfer``."""
        while self.queue and self.queue[0] is not transfer:
            first = self.queue.popleft()
            first.move_up_to(first.copy.layers)


class CpuTransfer:
    """``moved`` layers have arrived."""

    __slots__ = ("copy", "moved", "stream")

    def __init__(self, stream: CpuStream, copy: Copy) -> None:
        self.stream, self.copy, self.moved = stream, copy, 0

    def done(self) -> bool:
        return self.moved == self.copy.layers

    def wait(self) -> None:
        self.wait_layer(self.copy.layers - 1)
        if self.stream.queue and self.stream.queue[0] is self:
            self.stream.queue.popleft()

    def wait_layer(self, layer: int) -> None:
        if self.moved <= layer:
            self.stream.run_before(self)
            self.move_up_to(layer + 1)

    def move_up_to(self, layers: int) -> None:
        for layer in range(self.moved, layers):
            self.copy.move(layer)
        self.moved = max(self.moved, layers)


# -- on a GPU --------------------------------------------------------------------------------------


class CudaEngine:
    """Two streams beside the one that computes, which each transfer waits for first.

    ``delay`` clock cycles pass before each transfer, so that one in flight really is. What computes
    is the current stream of whoever calls, the same at every call.
    """

    def __init__(self, device_kv: KVBuffers, host_kv: KVBuffers, device: Any, delay: int) -> None:
        self.device_kv, self.host_kv = device_kv, host_kv
        self.device, self.delay = device, delay
        self.writes, self.loads = torch.cuda.Stream(device), torch.cuda.Stream(device)
        # Or the memory of a cache that is gone goes to the next one while copies still run. (Pinned
        # memory needs no word: an asynchronous copy tells its allocator by itself.)
        for stream in (self.writes, self.loads):
            device_kv.words.record_stream(stream)

    def write(self, device: Slots, host: Slots) -> Transfer:
        copy = AsynchronousCopy(self.device_kv, self.host_kv, device, host)
        return self._issue(self.writes, copy)

    def load(self, device: Slots, host: Slots) -> Transfer:
        copy = AsynchronousCopy(self.host_kv, self.device_kv, host, device)
        return self._issue(self.loads, copy)

    def _issue(self, stream: Any, copy: AsynchronousCopy) -> Transfer:
        stream.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(stream):
            if self.delay:
                torch.cuda._sleep(self.delay)
            events = [self._move(stream, copy, layer) for layer in range(copy.layers)]
        return CudaTransfer(events, self.device)

    def _move(self, stream: Any, copy: AsynchronousCopy, layer: int) -> Any:
        """Issue one layer and mark where it ends."""
        copy.move(layer)
        return stream.record_event()


class CudaTransfer:
    """One event for each layer."""

    __slots__ = ("device", "events")

    def __init__(self, events: list[Any], device: Any) -> None:
        self.events, self.device = events, device

    def done(self) -> bool:
        return bool(self.events[-1].query())

    def wait(self) -> None:
        self.events[-1].synchronize()

    def wait_layer(self, layer: int) -> None:
        torch.cuda.current_stream(self.device).wait_event(self.events[layer])
