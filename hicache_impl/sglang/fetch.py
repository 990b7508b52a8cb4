"""Released wheels, kept by their hash in the user's cache directory.

    wheels/<sha256>/<file>.whl     the wheel, as pip downloaded it
    wheels/<sha256>/tree/sglang/   what is needed of it, unpacked
    index/<version>                {"sha256": ..., "file": ...}

Everything is made beside its place and moved there whole, so that a crash or a second process in
the middle leaves nothing half done. HICACHE_VERIFY_CACHE names another directory.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from bisect import bisect
from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path

import platformdirs

from hicache_impl.sglang import releases
from hicache_impl.sglang.errors import Offline, UnknownRelease, UnreadableSource

PROJECT = "sglang"
DOWNLOAD_LIMIT_SECONDS = 1800

#: Other platforms to ask for: from 0.5.11 wheels are tagged for one Python and manylinux, and the
#: cache modules in them are pure Python.
FOREIGN = (
    "--implementation=cp",
    "--python-version=3.11",
    "--platform=manylinux_2_34_x86_64",
    "--platform=manylinux_2_28_x86_64",
    "--platform=manylinux_2_17_x86_64",
    "--platform=manylinux2014_x86_64",
)

#: What is unpacked. Modules that become placeholders are there for their names: what a release does
#: not ship must not be importable.
NEEDED = (
    "sglang/*.py",
    "sglang/srt/mem_cache/rust_tree_core/*.so",
)
UNNEEDED = ("sglang/multimodal_gen/*", "sglang/test/*", "sglang/benchmark/*", "sglang/lang/*")


def cache_folder() -> Path:
    named = os.environ.get("HICACHE_VERIFY_CACHE")
    return Path(named) if named else Path(platformdirs.user_cache_dir("hicache-verify"))


def wheel(version: str) -> Path:
    """The wheel of a release, downloaded if it is not in the cache."""
    _refuse_nonsense(version)
    return _cached_wheel(version) or _download(version)


def unpacked(version: str) -> Path:
    """The folder of the release's ``sglang`` package."""
    file = wheel(version)
    tree = file.parent / "tree"
    if not tree.is_dir():
        _unpack(file, tree)
    return tree / "sglang"


def cached_releases() -> tuple[str, ...]:
    """Releases whose wheels are in the cache, oldest first."""
    folder = cache_folder() / "index"
    names = [entry.name for entry in folder.iterdir()] if folder.is_dir() else []
    return _sorted(name for name in names if _cached_wheel(name) is not None)


def available_releases() -> tuple[str, ...]:
    """Releases that the package index offers, oldest first; none where it cannot be reached."""
    answer = _pip("index", "versions", PROJECT)
    match = re.search(r"Available versions: (.*)", answer.stdout)
    return _sorted(match.group(1).split(", ")) if match else ()


def _sorted(versions: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(filter(releases.is_version, versions), key=releases.order))


def _refuse_nonsense(version: str) -> None:
    if not releases.is_version(version):
        raise UnknownRelease(
            f"{version!r} is no SGLang release; a release looks like 0.5.18 or 0.5.10.post1"
        )


def _cached_wheel(version: str) -> Path | None:
    try:
        entry = json.loads((cache_folder() / "index" / version).read_text(encoding="utf-8"))
        file = cache_folder() / "wheels" / entry["sha256"] / entry["file"]
    except (OSError, ValueError, KeyError, TypeError):
        return None  # absent, or damaged: it is downloaded again
    return file if file.is_file() else None


def _download(version: str) -> Path:
    with _workshop() as workshop:
        answer = _pip_download(version, workshop)
        files = sorted(workshop.glob("*.whl"))
        if not files:
            raise _why_not(version, answer)
        return _keep(version, files[0])


def _pip_download(version: str, folder: Path) -> str:
    """Ask as this Python, then for the platform that releases are built for; pip's last words."""
    command = ("download", "--no-deps", "--only-binary=:all:", "--dest", str(folder))
    said = ""
    for platform in ((), FOREIGN):
        answer = _pip(*command, *platform, f"{PROJECT}=={version}")
        if answer.returncode == 0:
            return answer.stdout
        said = answer.stdout + answer.stderr
    return said


def _pip(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments]
    try:
        return subprocess.run(
            command, capture_output=True, text=True, timeout=DOWNLOAD_LIMIT_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise Offline(
            f"pip did not finish within {DOWNLOAD_LIMIT_SECONDS} seconds; try again later"
        ) from error


def _why_not(version: str, said: str) -> Exception:
    """What pip saw: it names the versions; where it saw none, it saw no index."""
    if "No module named pip" in said:
        return UnreadableSource(f"{sys.executable} has no pip; install it (python -m ensurepip)")
    seen = {
        name for text in re.findall(r"from versions: ([^)]*)\)", said) for name in text.split(", ")
    }
    seen -= {"none"}
    if version in seen or not seen:
        return Offline(
            f"sglang {version} is not in {cache_folder()} and the package index did not give it; "
            f"connect, or use --source; cached: {', '.join(cached_releases()) or 'none'}"
        )
    return UnknownRelease(
        f"there is no sglang {version}; nearest: {', '.join(_nearest(version, _sorted(seen)))}"
    )


def _nearest(version: str, known: tuple[str, ...]) -> tuple[str, ...]:
    """The two releases before and the two after where ``version`` would be."""
    place = bisect([releases.order(name) for name in known], releases.order(version))
    return known[max(0, place - 2) : place + 2]


def _keep(version: str, file: Path) -> Path:
    """Move a downloaded wheel to its place, then say in the index that it is there."""
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    place = cache_folder() / "wheels" / digest
    if not (place / file.name).is_file():
        staged = file.parent / "staged"
        staged.mkdir()
        file.rename(staged / file.name)
        _move(staged, place)
    index = cache_folder() / "index"
    index.mkdir(parents=True, exist_ok=True)
    entry = file.parent / "entry"
    entry.write_text(json.dumps({"sha256": digest, "file": file.name}), encoding="utf-8")
    os.replace(entry, index / version)
    return place / file.name


def _unpack(file: Path, tree: Path) -> None:
    with _workshop() as workshop:
        try:
            with zipfile.ZipFile(file) as archive:
                needed = [name for name in archive.namelist() if _is_needed(name)]
                archive.extractall(workshop / "tree", needed)
        except (zipfile.BadZipFile, EOFError) as error:
            raise UnreadableSource(
                f"{file} is damaged ({error}); delete it and try again"
            ) from error
        _move(workshop / "tree", tree)


def _is_needed(name: str) -> bool:
    wanted = any(fnmatchcase(name, pattern) for pattern in NEEDED)
    return wanted and not any(fnmatchcase(name, pattern) for pattern in UNNEEDED)


def _move(made: Path, place: Path) -> None:
    """Put a finished folder in its place; if another process was first, its folder stays."""
    place.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.replace(made, place)
    except OSError:
        if not place.is_dir():
            raise


def _workshop() -> _Workshop:
    """A folder on the cache's own file system, gone afterwards."""
    try:
        cache_folder().mkdir(parents=True, exist_ok=True)
        return _Workshop(prefix="making-", dir=cache_folder())
    except OSError as error:
        raise UnreadableSource(
            f"cannot write to {cache_folder()} ({error.strerror}); "
            "set HICACHE_VERIFY_CACHE to a folder that you own"
        ) from error


class _Workshop(tempfile.TemporaryDirectory[str]):
    def __enter__(self) -> Path:  # type: ignore[override]
        return Path(super().__enter__())
