"""Imports the real cache modules of one release into this process.

A finder on ``sys.meta_path`` decides for every module of ``sglang`` whether it is the release's own
file, an empty package (whose ``__init__`` never runs), or a placeholder (releases.py says which).
Nothing on disk is changed; patches are applied to the text that is compiled.
"""

from __future__ import annotations

import importlib
import logging
import sys
import warnings
from collections.abc import Iterable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import (
    EXTENSION_SUFFIXES,
    ExtensionFileLoader,
    ModuleSpec,
    SourceFileLoader,
)
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

import attrs

from hicache_impl.sglang import releases
from hicache_impl.sglang.errors import AnotherReleaseLoaded, NoSuchCache, PatchDoesNotApply
from hicache_impl.sglang.injections import inject
from hicache_impl.sglang.placeholders import THIRD_PARTY, Surroundings, contents
from hicache_impl.sglang.source import Located, Origin
from hicache_impl.sglang.standin import PlaceholderModule


@attrs.define(frozen=True, slots=True)
class Patch:
    """In the source of ``module``, ``old`` (which occurs exactly once) becomes ``new``."""

    module: str
    old: str
    new: str

    def apply(self, source: str) -> str:
        count = source.count(self.old)
        if count != 1:
            line = self.old.strip().splitlines()[0] if self.old.strip() else ""
            raise PatchDoesNotApply(
                f"patch of {self.module}: {line!r} occurs {count} times, not once; "
                "quote more of the lines around it"
            )
        return source.replace(self.old, self.new)


@attrs.define(frozen=True, slots=True)
class Report:
    """Which modules of the release are real, and which were replaced."""

    real: tuple[str, ...]
    placeholders: tuple[str, ...]
    with_content: tuple[str, ...]
    injected: tuple[str, ...]


@attrs.define(frozen=True, slots=True)
class Loaded:
    """One release, imported."""

    located: Located
    patches: tuple[Patch, ...]
    around: Surroundings
    report: Report
    cache: str = releases.HIRADIX

    @property
    def version(self) -> str:
        return self.located.version

    def module(self, name: str) -> ModuleType:
        """A module of the release, by its name below ``sglang.srt`` (imported when needed)."""
        return importlib.import_module(f"sglang.srt.{name}")


class _SourceLoader(SourceFileLoader):
    """The release's own file, with its patches; keeps bytecode only in our own cache."""

    def __init__(self, name: str, path: str, patches: Sequence[Patch], bytecode: bool) -> None:
        super().__init__(name, path)
        self._patches = patches
        self._bytecode = bytecode

    def get_code(self, fullname: str) -> CodeType | None:
        if not self._patches:
            return super().get_code(fullname)
        source = self.get_source(fullname) or ""
        for patch in self._patches:
            source = patch.apply(source)
        return compile(source, self.path, "exec", dont_inherit=True)

    def set_data(self, path: str, data: Any, *, _mode: int = 0o666) -> None:
        """Called to write bytecode: never into somebody's checkout."""
        if self._bytecode:
            super().set_data(path, data, _mode=_mode)


class _SyntheticLoader(Loader):
    def __init__(self, module: ModuleType) -> None:
        self._module = module

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return self._module

    def exec_module(self, module: ModuleType) -> None:
        pass


class Finder(MetaPathFinder):
    """Answers for ``sglang`` and for the third-party packages that are replaced."""

    def __init__(
        self,
        located: Located,
        patches: Sequence[Patch],
        around: Surroundings,
        cache: str = releases.HIRADIX,
    ) -> None:
        self.located = located
        self.cache = cache
        self.patches = patches
        self.contents = contents(around)
        self.found: dict[str, str] = {}

    def find_spec(self, name: str, path: Any, target: Any = None) -> ModuleSpec | None:
        top = name.partition(".")[0]
        if top in THIRD_PARTY:
            return self._placeholder(name, None)
        if top != "sglang":
            return None
        directory, file = self._on_disk(name)
        if directory is None and file is None:
            raise ModuleNotFoundError(f"No module named {name!r} in this release", name=name)
        role = releases.role_of(name, self.located.version, self.cache)
        if role == releases.PLACEHOLDER:
            return self._placeholder(name, directory)
        if role == releases.REAL and file is not None:
            return self._real(name, file, directory)
        return self._package(name, directory)

    def _on_disk(self, name: str) -> tuple[Path | None, Path | None]:
        """The folder and the file of a module, which may be compiled; None for what is not there.

        A compiled one counts where this Python can load it.
        """
        place = self.located.root.joinpath(*name.split(".")[1:])
        if place.is_dir():
            init = place / "__init__.py"
            return place, init if init.is_file() else None
        files = [place.with_name(place.name + suffix) for suffix in (".py", *EXTENSION_SUFFIXES)]
        return None, next((file for file in files if file.is_file()), None)

    def _real(self, name: str, file: Path, directory: Path | None) -> ModuleSpec:
        self.found[name] = releases.REAL
        loader: Loader
        if file.suffix == ".py":
            patches = [patch for patch in self.patches if patch.module == name]
            loader = _SourceLoader(name, str(file), patches, self.located.ours)
        else:
            loader = ExtensionFileLoader(name, str(file))
        spec = ModuleSpec(name, loader, origin=str(file), is_package=directory is not None)
        spec.has_location = True
        if directory is not None:
            spec.submodule_search_locations = [str(directory)]
        return spec

    def _package(self, name: str, directory: Path | None) -> ModuleSpec:
        self.found[name] = releases.SYNTHETIC
        spec = ModuleSpec(name, _SyntheticLoader(ModuleType(name)), is_package=True)
        spec.submodule_search_locations = [str(directory)]
        return spec

    def _placeholder(self, name: str, directory: Path | None) -> ModuleSpec:
        self.found[name] = releases.PLACEHOLDER
        module = PlaceholderModule(name, self.contents.get(name, {}))
        spec = ModuleSpec(name, _SyntheticLoader(module), is_package=True)
        spec.submodule_search_locations = [str(directory)] if directory is not None else []
        return spec

    def named(self, role: str) -> tuple[str, ...]:
        return tuple(sorted(name for name, found in self.found.items() if found == role))


#: What this process holds: nothing, or one release.
_process: list[Loaded] = []


def load(origin: Origin, patches: Iterable[Patch] = (), cache: str = releases.HIRADIX) -> Loaded:
    """The modules of one ``cache`` of ``origin``, imported; the same again for the same asking."""
    located, patches = origin.locate(), tuple(patches)
    _refuse_absent_cache(located, cache)
    _refuse_too_old(located, cache)
    for held in _process:
        if (held.located, held.patches, held.cache) == (located, patches, cache):
            return held
        raise AnotherReleaseLoaded(
            f"this process holds sglang {held.version} from {held.located.root}"
            f"{', patched' if held.patches else ''}; load another in a process of its own"
        )
    _refuse_foreign_sglang()
    _check_patches(located, patches)
    around = Surroundings()
    finder = Finder(located, patches, around, cache)
    logging.getLogger("sglang").setLevel(logging.CRITICAL)
    sys.meta_path.insert(0, finder)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _import_cache(finder)
    injected = inject(around)
    _process.append(Loaded(located, patches, around, _report(finder, injected), cache))
    return _process[0]


def _refuse_foreign_sglang() -> None:
    if "sglang" in sys.modules:
        raise AnotherReleaseLoaded(
            "sglang is imported in this process already; load a release in a fresh process"
        )


def _refuse_absent_cache(located: Located, cache: str) -> None:
    module = releases.CACHE_MODULES[cache][0]
    if not located.root.joinpath(*module.split(".")[1:]).with_suffix(".py").is_file():
        known = releases.KNOWN_OF[cache]
        raise NoSuchCache(
            f"{located.root} ships no {releases.CLASSES[cache]}, which is in SGLang from "
            f"{known[0]} to {known[-1]}; --cache names another, and --source the folder that "
            "holds sglang"
        )


def _refuse_too_old(located: Located, cache: str) -> None:
    oldest = releases.KNOWN_OF[cache][0]
    if releases.order(located.version) < releases.order(oldest):
        lacks = releases.LACKS[cache]
        raise NoSuchCache(
            f"the {releases.CLASSES[cache]} of sglang {located.version} {lacks}; "
            f"{oldest} is the first that can be run"
        )


def _check_patches(located: Located, patches: Sequence[Patch]) -> None:
    """Every patch applies, before anything is imported."""
    texts: dict[str, str] = {}
    for patch in patches:
        file = located.root.joinpath(*patch.module.split(".")[1:]).with_suffix(".py")
        if patch.module not in texts and not file.is_file():
            raise PatchDoesNotApply(f"patch of {patch.module}: no such module in {located.root}")
        text = texts.get(patch.module) or file.read_text(encoding="utf-8")
        texts[patch.module] = patch.apply(text)


def _import_cache(finder: Finder) -> None:
    """Import; a failure leaves no half-loaded release behind."""
    try:
        for name in releases.CACHE_MODULES[finder.cache]:
            importlib.import_module(name)
    except BaseException:
        sys.meta_path.remove(finder)
        for name in finder.found:
            sys.modules.pop(name, None)
        raise


def _report(finder: Finder, injected: tuple[str, ...]) -> Report:
    placeholders = finder.named(releases.PLACEHOLDER)
    return Report(
        real=finder.named(releases.REAL),
        placeholders=placeholders,
        with_content=tuple(name for name in placeholders if name in finder.contents),
        injected=injected,
    )
