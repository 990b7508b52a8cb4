"""A source tree with a planted bug: links to an unpacked release, and a copy of what is edited."""

from __future__ import annotations

from pathlib import Path

from hicache_impl.sglang import fetch
from hicache_impl.sglang.loader import Patch
from tests.planted.bug import Planted


def source_tree(bug: Planted, folder: Path) -> Path:
    """``folder``, as ``--source`` takes it. PatchDoesNotApply where an edit fits not just once."""
    release, package = fetch.unpacked(bug.release), folder / "sglang"
    _link_all(release, package)
    for edit in bug.edits:
        *above, name = edit.module.split(".")[1:]
        file = _opened(release, package, above) / f"{name}.py"
        text = Patch(*edit.patch).apply(file.read_text(encoding="utf-8"))
        file.unlink()
        file.write_text(text, encoding="utf-8")
    return folder


def _opened(original: Path, copy: Path, inside: list[str]) -> Path:
    """The folder below ``copy``, where every folder on the way is one of links and none is one."""
    for name in inside:
        original, copy = original / name, copy / name
        if copy.is_symlink():
            copy.unlink()
            _link_all(original, copy)
    return copy


def _link_all(original: Path, copy: Path) -> None:
    """A new folder ``copy`` with links to what is in ``original``, without bytecode."""
    copy.mkdir(parents=True)
    for entry in original.iterdir():
        if entry.name != "__pycache__":
            (copy / entry.name).symlink_to(entry)
