"""A stream that waits gets its bytes; that an event is done remains for the test to say."""

from __future__ import annotations

import torch

from hicache_impl.sglang.device import Copy, Device, Event, Stream


def copy(stream: Stream, arrived: list[str], name: str) -> None:
    nothing = torch.empty(0, dtype=torch.int64)
    stream.issue(Copy(nothing, nothing, lambda: arrived.append(name)))


def recorded(device: Device, stream: Stream) -> Event:
    event = device.Event()
    event.record(stream)
    return event


def test_the_default_stream_has_the_bytes_of_what_it_waits_for_and_of_nothing_later() -> None:
    device, arrived = Device(), list[str]()
    side = device.Stream()
    copy(side, arrived, "first layer")
    first = recorded(device, side)
    copy(side, arrived, "second layer")
    second = recorded(device, side)
    device.current_stream().wait_event(first)
    assert arrived == ["first layer"]
    assert not first.query()
    second.synchronize()
    assert arrived == ["first layer", "second layer"]
    assert first.query()


def test_what_a_stream_waits_for_comes_before_its_own_bytes() -> None:
    device, arrived = Device(), list[str]()
    writes, loads = device.Stream(), device.Stream()
    copy(writes, arrived, "write")
    loads.wait_event(recorded(device, writes))
    copy(loads, arrived, "load")
    done = recorded(device, loads)
    device.current_stream().wait_event(done)
    assert arrived == ["write", "load"]
    assert not done.query()
