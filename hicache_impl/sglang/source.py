"""Where a release comes from: a wheel of the index, a source tree, or the environment."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re
from pathlib import Path
from typing import Protocol

import attrs

from hicache_impl.sglang.errors import NotInstalled, UnreadableSource
from hicache_impl.sglang.features import nearest_release


@attrs.define(frozen=True, slots=True)
class Located:
    """The folder of the ``sglang`` package, its version, and how that is known.

    ``ours`` says that the folder is in our own cache, where bytecode may be kept.
    """

    root: Path
    version: str
    told_by: str
    ours: bool = False


class Origin(Protocol):
    def locate(self) -> Located:
        """Where the package is; fetches it if it has to."""


@attrs.define(frozen=True, slots=True)
class Release:
    """A released wheel, unmodified."""

    version: str

    def locate(self) -> Located:
        from hicache_impl.sglang import fetch

        return Located(fetch.unpacked(self.version), self.version, "its wheel", ours=True)


@attrs.define(frozen=True, slots=True)
class SourceTree:
    """The folder that holds the ``sglang`` package; files and folders may be links."""

    path: Path = attrs.field(converter=Path)

    def locate(self) -> Located:
        root = self.path / "sglang"
        if not root.is_dir():
            raise UnreadableSource(
                f"{self.path} holds no folder sglang; name the folder above the package "
                "(python/ in a checkout of SGLang)"
            )
        version, told_by = version_of(root)
        return Located(root, version, told_by)


@attrs.define(frozen=True, slots=True)
class Installed:
    """The SGLang of this environment, found without importing it."""

    def locate(self) -> Located:
        spec = importlib.util.find_spec("sglang")
        if spec is None or not spec.submodule_search_locations:
            raise NotInstalled(
                "no sglang in this environment; install it, or use --release or --source"
            )
        root = Path(next(iter(spec.submodule_search_locations)))
        try:
            return Located(root, importlib.metadata.version("sglang"), "its installed metadata")
        except importlib.metadata.PackageNotFoundError:
            version, told_by = version_of(root)
            return Located(root, version, told_by)


_ASSIGNED = re.compile(r"^(?:__version__|version)\b[^'\"\n]*['\"](\d+\.\d+\.\d+[^'\"]*)['\"]", re.M)


def version_of(root: Path) -> tuple[str, str]:
    """The version of a source tree, and what told it."""
    for name in ("version.py", "_version.py"):
        try:
            match = _ASSIGNED.search((root / name).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError):
            continue
        if match is not None and not match.group(1).startswith("0.0.0"):
            return match.group(1), f"sglang/{name}"
    return nearest_release(root), "features of its source"
