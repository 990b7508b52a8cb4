"""From the options of the command line to a target factory, inside the process that runs it.

A ``TargetSpec`` is plain data and can be sent to a worker; ``open_factory`` imports what it names.
"""

from __future__ import annotations

import importlib
from typing import cast

import attrs

from hicache_impl.target import TargetFactory

DEFAULT_RELEASE = "0.5.18"
NATIVE = "native"


class BadTarget(ValueError):
    """There is no such target, or it was described in a way that cannot be."""


@attrs.frozen
class TargetSpec:
    """What to run: one release, one source tree or the installed package of ``target``.

    ``target`` may also be ``native``, our own cache, or ``module:attribute``, a callable that
    returns a ``TargetFactory``; these have no releases.
    ``device`` is where ``native`` keeps its device tier, a name that torch knows; None for the CPU.
    ``patches`` are triples of module, old text and new text, applied in memory. ``bug`` plants one
    of ``hicache_impl.bugs`` in our own cache.
    """

    target: str = "sglang"
    release: str | None = None
    source: str | None = None
    installed: bool = False
    device: str | None = None
    patches: tuple[tuple[str, str, str], ...] = ()
    bug: str | None = None

    def __attrs_post_init__(self) -> None:
        given = [self.release is not None, self.source is not None, self.installed]
        if sum(given) > 1:
            raise BadTarget("give only one of --release, --source and --installed")
        if self.has_no_releases and any(given):
            raise BadTarget(f"target {self.target} takes no --release, --source or --installed")
        if self.device is not None and self.target != NATIVE:
            raise BadTarget(f"target {self.target} takes no --device; only {NATIVE} does")
        if self.bug is not None and self.target != NATIVE:
            raise BadTarget("--bug plants a bug in our own cache: add --target native")

    @property
    def is_import(self) -> bool:
        return ":" in self.target

    @property
    def has_no_releases(self) -> bool:
        return self.is_import or self.target == NATIVE

    @property
    def options(self) -> str:
        """The options of the command line that name this target again."""
        target = "" if self.target == "sglang" else f"--target {self.target} "
        if self.bug is not None:
            target += f"--bug {self.bug} "
        if self.source is not None:
            return f"{target}--source {self.source}"
        if self.installed:
            return f"{target}--installed"
        if self.device is not None:
            return f"{target}--device {self.device}"
        return target.strip() if self.has_no_releases else f"{target}--release {self.version}"

    @property
    def version(self) -> str | None:
        """The release asked for, or the default one; None where the target itself knows."""
        if self.source is not None or self.installed or self.has_no_releases:
            return None
        return DEFAULT_RELEASE if self.release is None else self.release


def open_factory(spec: TargetSpec) -> TargetFactory:
    """The factory that ``spec`` names. What the target's own loader raises comes through."""
    if spec.is_import:
        return _imported(spec.target)
    if spec.target == "sglang":
        return _sglang(spec)
    if spec.target == NATIVE:
        return _native(spec)
    raise BadTarget(
        f"unknown target {spec.target!r:.60}; known are sglang, native and module:attribute"
    )


def _native(spec: TargetSpec) -> TargetFactory:
    from hicache_impl import bugs
    from hicache_impl.native.target import NativeFactory

    device = "cpu" if spec.device is None else spec.device
    return NativeFactory(device) if spec.bug is None else bugs.find(spec.bug).factory(device=device)


def _imported(name: str) -> TargetFactory:
    module_name, _, attribute = name.partition(":")
    try:
        make = getattr(importlib.import_module(module_name), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise BadTarget(f"target {name!r:.120} cannot be imported: {error}") from error
    return cast(TargetFactory, make())


def _sglang(spec: TargetSpec) -> TargetFactory:
    from hicache_impl.sglang.hiradix import HiRadixFactory
    from hicache_impl.sglang.loader import Patch, load
    from hicache_impl.sglang.source import Installed, Origin, Release, SourceTree

    origin: Origin
    if spec.source is not None:
        origin = SourceTree(spec.source)
    elif spec.installed:
        origin = Installed()
    else:
        origin = Release(DEFAULT_RELEASE if spec.version is None else spec.version)
    return HiRadixFactory(load(origin, [Patch(*patch) for patch in spec.patches]))
