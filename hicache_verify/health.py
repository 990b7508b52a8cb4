"""What a run needs of this machine, looked at piece by piece."""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import platform
import sys
from collections.abc import Iterator

import attrs

from hicache_verify.targets import TargetSpec

OLDEST_PYTHON = (3, 10)
PACKAGES = (
    "attrs",
    "click",
    "hypothesis",
    "Jinja2",
    "msgspec",
    "numpy",
    "platformdirs",
    "psutil",
    "pytest",
    "rich",
)

OK, NOTE, BAD = "ok", "note", "bad"


@attrs.frozen
class Check:
    """``state`` is ``ok``, ``note`` (a run may still be possible) or ``bad``."""

    name: str
    state: str
    text: str
    details: tuple[str, ...] = ()


def checkup(spec: TargetSpec | None) -> Iterator[Check]:
    """Every check, the cheap ones first; the target only where one is named."""
    yield _python()
    yield _packages()
    yield _torch()
    yield _cache()
    yield _index()
    if spec is not None:
        yield _target(spec)


def _python() -> Check:
    text = f"{platform.python_version()} ({sys.executable})"
    if sys.version_info[:2] < OLDEST_PYTHON:
        return Check("python", BAD, f"{text}; {'.'.join(map(str, OLDEST_PYTHON))} is needed")
    return Check("python", OK, text)


def _packages() -> Check:
    found, missing = [], []
    for name in PACKAGES:
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:  # noqa: PERF203 - ten packages
            missing.append(name)
    if missing:
        return Check("packages", BAD, f"missing: {', '.join(missing)}; pip install them")
    return Check("packages", OK, f"{len(found)} found", tuple(found))


def _torch() -> Check:
    try:
        torch = importlib.import_module("torch")
    except Exception as error:  # noqa: BLE001 - a broken torch fails in many ways
        return Check("torch", BAD, f"cannot be imported: {error}; pip install torch")
    gpu = "a GPU, for --device cuda" if torch.cuda.is_available() else "no GPU, and none is needed"
    return Check("torch", OK, f"{torch.__version__}, {gpu}")


def _cache() -> Check:
    from hicache_impl.sglang import fetch

    folder = fetch.cache_folder()
    cached = fetch.cached_releases()
    text = f"{folder}, {len(cached)} releases"
    place = folder
    while not place.exists() and place != place.parent:
        place = place.parent
    if not os.access(place, os.W_OK):
        advice = "cannot be written; HICACHE_VERIFY_CACHE names another folder"
        return Check("cache", NOTE if cached else BAD, f"{text}: {advice}", cached)
    return Check("cache", OK, text, cached)


def _index() -> Check:
    from hicache_impl.sglang import fetch

    offered = fetch.available_releases()
    if offered:
        return Check("index", OK, f"reachable, {len(offered)} releases up to {offered[-1]}")
    cached = fetch.cached_releases()
    text = "the package index cannot be reached; only cached releases and source trees can be run"
    return Check("index", NOTE if cached else BAD, text)


def _target(spec: TargetSpec) -> Check:
    """Opened in a process of its own first, which may die of it."""
    from hicache_verify.cannot_run import CannotRun
    from hicache_verify.workers.asking import open_worker
    from hicache_verify.workers.executor import LocalExecutor
    from hicache_verify.workers.watch import Limits

    try:
        worker, opened = open_worker(LocalExecutor(Limits()), spec)
    except CannotRun as error:
        return Check("target", BAD, str(error), tuple(error.detail.splitlines()))
    worker.close()
    target = opened.description
    text = f"{target.target} {target.release} from {target.origin}"
    return Check("target", OK, text, tuple(_modules(spec)))


def _modules(spec: TargetSpec) -> Iterator[str]:
    """Which modules are the release's own, and which were replaced."""
    from hicache_verify.targets import open_factory

    loaded = getattr(open_factory(spec), "loaded", None)
    report = getattr(loaded, "report", None)
    if report is None:
        return
    yield f"real ({len(report.real)}): {', '.join(report.real)}"
    yield f"replaced ({len(report.placeholders)}): {', '.join(report.placeholders)}"
    yield f"injected ({len(report.injected)}): {', '.join(report.injected)}"
