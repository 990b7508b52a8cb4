"""Streams and events whose time belongs to the test.

A stream is a queue of actions in the order in which they were issued: copies, markers of events,
waits for other streams. The default stream runs at once. A side stream runs when the test advances
it, or when somebody synchronizes with one of its events.

What the default stream waits for has its bytes from then on. That the host sees the event as done
is another matter, and still the test's: a server issues a forward pass and goes on before it ran.

Copies move their bytes when they are reached (``late``) or when they are issued (``early``); on a
GPU either may happen. The event after a copy is done in both cases only once it is reached.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

LATE, EARLY = "late", "early"


class Copy:
    """Rows ``source_slots`` of some buffers on their way to ``target_slots`` of others."""

    __slots__ = ("buffers", "move", "moved", "source_slots", "target_slots")

    def __init__(
        self,
        source_slots: torch.Tensor,
        target_slots: torch.Tensor,
        move: Callable[[], None],
        buffers: frozenset[int] = frozenset(),
    ) -> None:
        self.buffers = buffers  # their addresses
        self.source_slots = source_slots
        self.target_slots = target_slots
        self.move = move
        self.moved = False

    def run(self) -> None:
        if not self.moved:
            self.moved = True
            self.move()

    bring = run


class Marker:
    """A place in a stream: what ``Event.record`` leaves there.

    ``copies`` are the copies of its transfer: those since the stream last waited for another one
    (the release begins every transfer with such a wait).
    """

    __slots__ = ("copies", "passed", "stream")

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.copies = stream.transfer
        self.passed = False

    def run(self) -> None:
        self.passed = True

    def bring(self) -> None:
        """Nothing to move; it stays to be passed."""


class Wait:
    """The stream goes no further before ``marker`` has been passed on its own stream."""

    __slots__ = ("marker",)

    def __init__(self, marker: Marker) -> None:
        self.marker = marker

    def run(self) -> None:
        self.marker.stream.run_until(self.marker)

    def bring(self) -> None:
        self.marker.stream.bring_until(self.marker)


class Stream:
    """A queue of actions; ``immediate`` streams run each when it is issued."""

    def __init__(self, device: Device, *, immediate: bool = False) -> None:
        self.device = device
        self.immediate = immediate
        self.copies = device.copies
        self.memory: dict[int, torch.Tensor] = {}
        self.actions: deque[Copy | Marker | Wait] = deque()
        self.transfer: list[Copy] = []

    def issue(self, action: Copy | Marker | Wait) -> None:
        if self.immediate:
            action.bring() if isinstance(action, Wait) else action.run()
            return
        if isinstance(action, Wait):
            self.transfer = []
        elif isinstance(action, Copy):
            self.transfer.append(action)
            if self.copies == EARLY:
                action.run()
        self.actions.append(action)

    def run_until(self, marker: Marker) -> None:
        while not marker.passed:
            self.actions.popleft().run()

    def bring_until(self, marker: Marker) -> None:
        """Move the bytes of all that was issued before ``marker``, which is not passed by that."""
        for action in () if marker.passed else self.actions:
            if action is marker:
                return
            action.bring()

    def buffer_at(self, address: int) -> torch.Tensor:
        """The registered buffer that starts at this address (tables of pointers)."""
        return self.memory[address]

    # what the release calls

    def wait_event(self, event: Event) -> None:
        event.wait(self)

    def wait_stream(self, other: Stream) -> None:
        marker = Marker(other)
        other.issue(marker)
        self.issue(Wait(marker))

    def record_event(self, event: Event | None = None) -> Event:
        event = event if event is not None else Event(self.device)
        event.record(self)
        return event

    def synchronize(self) -> None:
        while self.actions:
            self.actions.popleft().run()


class Event:
    """An event that was never recorded counts as done (LayerDoneCounter relies on it)."""

    __slots__ = ("device", "marker")

    def __init__(self, device: Device) -> None:
        self.device = device
        self.marker: Marker | None = None

    def record(self, stream: Stream | None = None) -> None:
        stream = stream if stream is not None else self.device.current_stream()
        self.marker = Marker(stream)
        stream.issue(self.marker)

    def query(self) -> bool:
        return self.marker is None or self.marker.passed

    def wait(self, stream: Stream | None = None) -> None:
        stream = stream if stream is not None else self.device.current_stream()
        if self.marker is not None:
            stream.issue(Wait(self.marker))

    def synchronize(self) -> None:
        if self.marker is not None:
            self.marker.stream.run_until(self.marker)

    def elapsed_time(self, later: Event) -> float:
        return 0.0


class Device:
    """Stands for ``torch.cuda`` in the release's modules (``get_device_module()``)."""

    __name__ = "hicache_verify_device"

    def __init__(self) -> None:
        self.copies = LATE
        self.default = Stream(self, immediate=True)
        self._current = self.default
        #: The two classes, as the release names them; their arguments (timing) mean nothing here.
        self.Stream: Callable[..., Stream] = lambda *args, **kwargs: Stream(self)
        self.Event: Callable[..., Event] = lambda *args, **kwargs: Event(self)

    @contextmanager
    def stream(self, stream: Stream | None) -> Iterator[None]:
        before, self._current = self._current, stream if stream is not None else self._current
        try:
            yield
        finally:
            self._current = before

    def current_stream(self, device: Any = None) -> Stream:
        return self._current

    def default_stream(self, device: Any = None) -> Stream:
        return self.default

    def synchronize(self, device: Any = None) -> None:
        """Nothing in the cache's own paths waits for the whole device: refuse to guess."""
        raise RuntimeError("the whole device was synchronized: not part of the cache's protocol")

    def is_available(self) -> bool:
        return False
