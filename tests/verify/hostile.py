"""Targets that misbehave. Each function is a ``module:attribute`` for ``--target``.

What is planted happens when a node of two tokens or more is evicted from the device.
"""

from __future__ import annotations

import ctypes
import itertools
import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any

import attrs

from hicache_model.configuration import EVICTION_POLICIES
from hicache_model.operations import EvictDevice, Operation
from tests.verify.mimic import Factory, Mimic


def on_eviction(act: Callable[[], Any]) -> Factory:
    def mishap(operation: Operation, mimic: Mimic) -> None:
        if isinstance(operation, EvictDevice) and operation.count >= 2:
            act()

    return Factory(mishap)


def agrees() -> Factory:
    return Factory(lambda operation, mimic: None)


def prints() -> Factory:
    def mishap(operation: Operation, mimic: Mimic) -> None:
        sys.stdout.write("a talkative cache\n")
        os.write(1, b"and one that does not ask Python\n")

    return Factory(mishap)


def raises() -> Factory:
    return on_eviction(lambda: dict[str, int]()["gone"])


def loops() -> Factory:
    return on_eviction(spin)


def spin() -> None:
    while True:
        pass


def exits() -> Factory:
    return on_eviction(lambda: os._exit(3))


def leaves() -> Factory:
    return on_eviction(lambda: sys.exit("enough"))


def interrupts() -> Factory:
    return on_eviction(interrupt)


def interrupt() -> None:
    raise KeyboardInterrupt


def is_killed() -> Factory:
    return on_eviction(lambda: os.kill(os.getpid(), signal.SIGKILL))


def crashes() -> Factory:
    return on_eviction(lambda: ctypes.string_at(0))


def recurses() -> Factory:
    return on_eviction(recurse)


def recurse() -> None:
    recurse()


def runs_out() -> Factory:
    return on_eviction(lambda: bytearray(1 << 60))


def ends() -> Factory:
    return on_eviction(end)


def end() -> None:
    raise GeneratorExit


def devours() -> Factory:
    return on_eviction(devour)


def devour() -> None:
    eaten = []
    while True:
        eaten.append(b"x" * (16 << 20))


def corrupts() -> Factory:
    """Has a page that does not exist: a divergence without any exception."""

    def mishap(operation: Operation, mimic: Mimic) -> None:
        if isinstance(operation, EvictDevice) and operation.count >= 2:
            mimic.device.free.append(99)

    return Factory(mishap)


def dies_once_in_a_while() -> Factory:
    """Each process bears ten evictions."""
    borne = itertools.count()
    return on_eviction(lambda: next(borne) < 10 or os._exit(4))


def dies_when_minimized() -> Factory:
    """The first eviction only corrupts; the second one in a process ends it."""
    borne = itertools.count()

    def mishap(operation: Operation, mimic: Mimic) -> None:
        if isinstance(operation, EvictDevice) and operation.count >= 2:
            mimic.device.free.append(99)
            if next(borne) >= 2:
                os._exit(5)

    return Factory(mishap)


def dies_later() -> Factory:
    """A timer ends the process when the example is long over."""
    timer = threading.Timer(0.5, lambda: os.kill(os.getpid(), signal.SIGKILL))
    timer.daemon = True

    def start() -> None:
        if not timer.is_alive():
            timer.start()

    return on_eviction(start)


def that_builds(build: Callable[..., Mimic]) -> Factory:
    """Agrees, where ``build`` gives a target at all."""
    factory = agrees()
    factory.build = build  # type: ignore[method-assign]  # a mishap is planted in this one object
    return factory


def hangs_while_building() -> Factory:
    def build(configuration: object) -> Mimic:
        spin()
        raise AssertionError

    return that_builds(build)


def without_slru() -> Factory:
    factory = agrees()
    lacking = tuple(p for p in EVICTION_POLICIES if p != "slru")
    factory.description = attrs.evolve(factory.description, eviction_policies=lacking)
    return factory


def cannot_open() -> Factory:
    raise LookupError("there is no such mimic")


def dies_opening() -> Factory:
    os._exit(7)


def cannot_build() -> Factory:
    def build(configuration: object) -> Mimic:
        raise RuntimeError("no memory for the pools")

    return that_builds(build)


def refuses() -> Factory:
    def build(configuration: object) -> Mimic:
        raise ValueError("the host pool is too small")

    return that_builds(build)


def blinds() -> Factory:
    """Agrees, and keeps the harness from seeing any divergence."""
    from hicache_verify.lockstep import Lockstep

    see = Lockstep.step

    def look_away(lockstep: Lockstep, operation: Operation) -> None:
        see(lockstep, operation)

    Lockstep.step = look_away  # type: ignore[method-assign,assignment]
    return agrees()


def kills_canaries() -> Factory:
    """Agrees, and the planted bug ends the process as soon as it is built."""
    from hicache_impl.native.target import NativeFactory

    NativeFactory.build = lambda *given: os._exit(9)  # type: ignore[method-assign]
    return agrees()
