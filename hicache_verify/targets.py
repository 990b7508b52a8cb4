"""From the options of the command line to a target factory, inside the process that runs it.

A ``TargetSpec`` is plain data and can be sent to a worker; ``open_factory`` imports what it names.
"""

from __future__ import annotations

import importlib
import shlex
from typing import cast

import attrs

from hicache_impl.target import AnyFactory, Description, TargetFactory
from hicache_model.configuration import Configuration
from hicache_model.dialects import CACHES, HIRADIX, UNIFIED, Dialect
from hicache_verify.divergence import BOTH, PYTHON, RUST

DEFAULT_RELEASE = "0.5.18"
NATIVE = "native"
SGLANG, SGLANG_UNIFIED, SGLANG_RUST = "sglang", "sglang-unified", "sglang-unified-rust"
SGLANG_BOTH = "sglang-unified-both"
UNIFIED_NAMES = {SGLANG_UNIFIED: PYTHON, SGLANG_RUST: RUST, SGLANG_BOTH: BOTH}
"""Names of the UnifiedRadixCache in traces, with the tree core that each stands for."""
SGLANG_NAMES = (SGLANG, *UNIFIED_NAMES)
CORES = tuple(UNIFIED_NAMES.values())
"""Tree cores of a UnifiedRadixCache that can be run, the default first; ``both`` side by side."""


class BadTarget(ValueError):
    """There is no such target, or it was described in a way that cannot be."""


@attrs.frozen
class TargetSpec:
    """What to run: one release, one source tree or the installed package of ``target``.

    ``cache`` is ``hiradix`` or ``unified``; None stands for the one that the release's servers use
    (``releases.default_cache``). ``core`` is the tree core of a unified one.
    ``target`` may also be one of ``UNIFIED_NAMES``, the names in traces: the unified cache of
    ``sglang`` with that core. Or it is ``native``, our own cache, or ``module:attribute``, a
    callable that returns a ``TargetFactory`` or a ``SideBySide``; these have no releases.
    ``device`` is where ``native`` keeps its device tier, a name that torch knows; None for the CPU.
    ``patches`` are triples of module, old text and new text, applied in memory. ``bug`` plants one
    of ``hicache_impl.bugs`` in our own cache. ``policy`` names an eviction policy of yours, as
    ``own_policy.add`` takes it; opening the target runs its code.
    """

    target: str = SGLANG
    release: str | None = None
    source: str | None = None
    installed: bool = False
    device: str | None = None
    patches: tuple[tuple[str, str, str], ...] = ()
    bug: str | None = None
    cache: str | None = None
    core: str | None = None
    policy: str | None = None

    def __attrs_post_init__(self) -> None:
        given = [self.release is not None, self.source is not None, self.installed]
        if sum(given) > 1:
            raise BadTarget("give only one of --release, --source and --installed")
        if self.has_no_releases and any(given):
            raise BadTarget(f"target {self.target} takes no --release, --source or --installed")
        self._check_cache()
        if self.device is not None and self.target != NATIVE:
            raise BadTarget(f"target {self.target} takes no --device; only {NATIVE} does")
        if self.bug is not None and self.target != NATIVE:
            raise BadTarget("--bug plants a bug in our own cache: add --target native")
        if self.policy is not None and self.target != NATIVE:
            raise BadTarget(
                f"target {self.target} has eviction policies of its own; {self.policy!r:.80} "
                "needs --target native"
            )

    def _check_cache(self) -> None:
        if self.has_no_releases and (self.cache or self.core):
            raise BadTarget(f"target {self.target} takes no --cache and no --core")
        if self.cache not in (None, *CACHES):
            raise BadTarget(f"unknown cache {self.cache!r:.60}; known are {', '.join(CACHES)}")
        if self.core not in (None, *CORES):
            raise BadTarget(f"unknown tree core {self.core!r:.60}; known are {', '.join(CORES)}")
        named = UNIFIED_NAMES.get(self.target)
        if self.target in (SGLANG_RUST, SGLANG_BOTH) and self.core not in (None, named):
            raise BadTarget(f"target {self.target} means --core {named}, and takes no other")
        if self.cache not in (None, UNIFIED) and self.is_unified:
            raise BadTarget(f"{CACHES[self.cache]} is no UnifiedRadixCache and has no --core")

    @property
    def is_unified(self) -> bool:
        """Whether the unified cache was asked for, by any of its names."""
        named = self.cache == UNIFIED or self.target in UNIFIED_NAMES
        return named or self.core is not None

    @property
    def tree_core(self) -> str:
        """The core of a unified cache."""
        return self.core or UNIFIED_NAMES.get(self.target, CORES[0])

    @property
    def is_import(self) -> bool:
        return ":" in self.target

    @property
    def has_no_releases(self) -> bool:
        return self.is_import or self.target == NATIVE

    @property
    def options(self) -> str:
        """The options of the command line that name this target again."""
        target = "" if self.target == SGLANG else f"--target {self.target} "
        for name, value in (("cache", self.cache), ("core", self.core)):
            target += "" if value is None else f"--{name} {value} "
        if self.bug is not None:
            target += f"--bug {self.bug} "
        if self.policy is not None:
            target += f"--eviction-policy {shlex.quote(self.policy)} "
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


def recorded_on(target: str, release: str) -> TargetSpec:
    """What a trace with this header ran on: in a header, ``sglang`` is always HiRadixCache."""
    return TargetSpec(target, release, cache=HIRADIX if target == SGLANG else None)


def open_factory(spec: TargetSpec) -> AnyFactory:
    """The factory that ``spec`` names. What the target's own loader raises comes through."""
    if spec.is_import:
        return _imported(spec.target)
    if spec.target in SGLANG_NAMES:
        return _sglang(spec)
    if spec.target == NATIVE:
        return _native(spec)
    raise BadTarget(
        f"unknown target {spec.target!r:.60}; known are sglang, native and module:attribute"
    )


def _native(spec: TargetSpec) -> TargetFactory:
    from hicache_impl import bugs
    from hicache_impl.native.target import NativeFactory
    from hicache_verify import own_policy

    device = "cpu" if spec.device is None else spec.device
    make = NativeFactory if spec.bug is None else bugs.find(spec.bug).factory
    if spec.policy is None:
        return make(device=device)
    own_policy.add(spec.policy)
    return make(device=device, own_policies=(spec.policy,))


def dialect_of(description: Description) -> Dialect:
    """How the model has to behave to be compared with such a target."""
    return Dialect.of(description.release, description.cache)


def refuse_unknown(target: Description, configuration: Configuration) -> None:
    """Raises BadTarget where the target cannot be built with what the configuration asks for."""
    if configuration.component not in target.components:
        raise BadTarget(
            f"{target.target} {target.release} cannot be run with the component "
            f"{configuration.component}; it can with {', '.join(target.components)}"
        )
    if configuration.strip_thinking and not target.strips_thinking:
        raise BadTarget(
            f"{target.target} {target.release} cannot strip thoughts; SGLang can from 0.5.11 on"
        )
    if configuration.bigram and not target.bigram:
        raise BadTarget(f"{target.target} {target.release} cannot be run with keys of pairs")


def _imported(name: str) -> AnyFactory:
    module_name, _, attribute = name.partition(":")
    try:
        make = getattr(importlib.import_module(module_name), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise BadTarget(f"target {name!r:.120} cannot be imported: {error}") from error
    return cast(AnyFactory, make())


def _sglang(spec: TargetSpec) -> AnyFactory:
    from hicache_impl.sglang import releases
    from hicache_impl.sglang.loader import Patch, load
    from hicache_impl.sglang.source import Installed, Origin, Release, SourceTree

    origin: Origin
    if spec.source is not None:
        origin = SourceTree(spec.source)
    elif spec.installed:
        origin = Installed()
    else:
        origin = Release(DEFAULT_RELEASE if spec.version is None else spec.version)
    cache = UNIFIED if spec.is_unified else spec.cache
    cache = cache or releases.default_cache(origin.locate().version)
    loaded = load(origin, [Patch(*patch) for patch in spec.patches], cache)
    if cache == UNIFIED:
        from hicache_impl.sglang.unified.both import BothFactory
        from hicache_impl.sglang.unified.target import UnifiedFactory

        if spec.tree_core == BOTH:
            return BothFactory(loaded)
        return UnifiedFactory(loaded, spec.tree_core)
    from hicache_impl.sglang.hiradix import HiRadixFactory

    return HiRadixFactory(loaded)
