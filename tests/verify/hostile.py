"""Targets that misbehave. Each function is a ``module:attribute`` for ``--target``.

What is planted happens when a node of two tokens or more is evicted from the device.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from hicache_model.operations import EvictDevice, Operation
from tests.verify.mimic import Factory, Mimic


def on_eviction(act: Callable[[], Any]) -> Factory:
    def mishap(operation: Operation, mimic: Mimic) -> None:
        if isinstance(operation, EvictDevice) and operation.count >= 2:
            act()

    return Factory(mishap)


def agrees() -> Factory:
    return Factory(lambda operation, mimic: None)


def raises() -> Factory:
    return on_eviction(lambda: {}["gone"])


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


def devours() -> Factory:
    return on_eviction(devour)


def devour() -> None:
    eaten = []
    while True:
        eaten.append(b"x" * (16 << 20))


def forgets() -> Factory:
    """Loses a node behind the model's back: a divergence without any exception."""

    def mishap(operation: Operation, mimic: Mimic) -> None:
        if isinstance(operation, EvictDevice) and operation.count >= 2:
            mimic.device.free.append(99)

    return Factory(mishap)


def cannot_open() -> Factory:
    raise LookupError("there is no such mimic")


def dies_opening() -> Factory:
    os._exit(7)


def cannot_build() -> Factory:
    def build(configuration: object) -> Mimic:
        raise RuntimeError("no memory for the pools")

    factory = agrees()
    factory.build = build  # type: ignore[method-assign,assignment]
    return factory
