"""Wheels are kept by hash, whole or not at all, and every mistake has its own exception.

Nothing here reaches a network: pip is replaced by a function that makes a small wheel.
"""

from __future__ import annotations

import subprocess
import zipfile
from pathlib import Path

import pytest

from hicache_impl.sglang import fetch
from hicache_impl.sglang.errors import Offline, UnknownRelease, UnreadableSource
from hicache_impl.sglang.features import FEATURES, nearest_release
from hicache_impl.sglang.releases import KNOWN, KNOWN_UNIFIED, order, role_of

EVERY = sorted({*KNOWN, *KNOWN_UNIFIED}, key=order)
FILES = (
    "sglang/version.py",
    "sglang/srt/mem_cache/hiradix_cache.py",
    "sglang/srt/mem_cache/rust_tree_core/mem_cache.cpython-311-x86_64-linux-gnu.so",
    "sglang/srt/models/notes.md",
    "sglang/multimodal_gen/app.py",
    "sglang-0.5.18.dist-info/METADATA",
)


class FakePip:
    """Answers as pip does; ``calls`` are the arguments that it got."""

    def __init__(self, says: str = "", foreign_only: bool = False) -> None:
        self.says = says
        self.foreign_only = foreign_only
        self.calls: list[tuple[str, ...]] = []

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        self.calls.append(arguments)
        refused = self.says or (self.foreign_only and not set(fetch.FOREIGN) <= set(arguments))
        if refused:
            return subprocess.CompletedProcess(arguments, 1, "", self.says)
        folder = Path(arguments[arguments.index("--dest") + 1])
        version = arguments[-1].partition("==")[2]
        with zipfile.ZipFile(folder / f"sglang-{version}-py3-none-any.whl", "w") as archive:
            for name in FILES:
                archive.writestr(name, version)
        return subprocess.CompletedProcess(arguments, 0, "", "")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HICACHE_VERIFY_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def use(monkeypatch: pytest.MonkeyPatch, pip: FakePip) -> FakePip:
    monkeypatch.setattr(fetch, "_pip", pip)
    return pip


def test_a_wheel_is_downloaded_once_and_kept_by_its_hash(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pip = use(monkeypatch, FakePip())
    file = fetch.wheel("0.5.18")
    assert file == fetch.wheel("0.5.18")
    assert len(pip.calls) == 1
    assert file.parent.parent == folder / "wheels"
    assert len(file.parent.name) == 64
    assert fetch.cached_releases() == ("0.5.18",)


def test_only_what_is_needed_is_unpacked(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, FakePip())
    root = fetch.unpacked("0.5.18")
    found = {str(f.relative_to(root.parent)) for f in root.rglob("*") if f.is_file()}
    assert found == set(FILES[:3])


def test_nothing_is_left_beside_wheels_and_index(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, FakePip())
    fetch.unpacked("0.5.18")
    assert {entry.name for entry in folder.iterdir()} == {"wheels", "index"}


def test_a_crash_while_unpacking_leaves_no_half_tree(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, FakePip())
    file = fetch.wheel("0.5.18")
    with monkeypatch.context() as broken:
        broken.setattr(zipfile.ZipFile, "extractall", _extract_one_then_die)
        with pytest.raises(KeyboardInterrupt):
            fetch.unpacked("0.5.18")
    assert [entry.name for entry in file.parent.iterdir()] == [file.name]
    assert (fetch.unpacked("0.5.18") / "srt/mem_cache/hiradix_cache.py").is_file()


def _extract_one_then_die(archive: zipfile.ZipFile, path: Path, members: list[str]) -> None:
    archive.extract(members[0], path)
    raise KeyboardInterrupt


def test_a_tree_that_another_process_made_first_stays(tmp_path: Path) -> None:
    for name in ("made", "place"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "by").write_text(name)
    fetch._move(tmp_path / "made", tmp_path / "place")
    assert (tmp_path / "place" / "by").read_text() == "place"


def test_a_damaged_index_entry_is_mended(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pip = use(monkeypatch, FakePip())
    fetch.wheel("0.5.18")
    (folder / "index" / "0.5.18").write_text("{")
    assert fetch.wheel("0.5.18").is_file()
    assert len(pip.calls) == 2


def test_a_damaged_wheel_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, FakePip())
    fetch.wheel("0.5.18").write_bytes(b"not a wheel")
    with pytest.raises(UnreadableSource, match=r"0\.5\.18.*damaged.*delete it"):
        fetch.unpacked("0.5.18")


def test_where_this_python_finds_nothing_the_wheels_platform_is_asked_for(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pip = use(monkeypatch, FakePip(foreign_only=True))
    assert fetch.wheel("0.5.18").is_file()
    assert "--python-version=3.11" in pip.calls[1]


def test_an_unknown_release_names_the_nearest(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, FakePip("ERROR: ... (from versions: 0.5.9, 0.5.20, 0.5.22, 0.5.23)"))
    with pytest.raises(UnknownRelease, match=r"no sglang 0\.5\.21; nearest: 0\.5\.9, 0\.5\.20"):
        fetch.wheel("0.5.21")


def test_without_an_index_the_cached_releases_are_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, FakePip())
    fetch.wheel("0.5.18")
    use(monkeypatch, FakePip("ERROR: ... (from versions: none)"))
    with pytest.raises(Offline, match=r"sglang 0\.5\.17 .*cached: 0\.5\.18$"):
        fetch.wheel("0.5.17")
    assert fetch.wheel("0.5.18").is_file()
    assert fetch.available_releases() == ()


@pytest.mark.parametrize("nonsense", ["", "latest", "0.5", "../../etc", "0.5.18; rm", "v0.5.18"])
def test_what_is_no_version_never_reaches_pip(nonsense: str, folder: Path) -> None:
    with pytest.raises(UnknownRelease, match="a release looks like"):
        fetch.wheel(nonsense)


def test_a_cache_folder_that_cannot_be_written_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HICACHE_VERIFY_CACHE", "/dev/null/nowhere")
    with pytest.raises(UnreadableSource, match="set HICACHE_VERIFY_CACHE"):
        fetch.wheel("0.5.18")


def test_messages_are_one_line(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, FakePip("ERROR: a\nERROR: (from versions: none)"))
    with pytest.raises(Offline) as caught:
        fetch.wheel("0.5.17")
    assert "\n" not in str(caught.value)


def test_the_table_of_features_is_newest_first_and_covers_every_minor_release() -> None:
    assert [f.since for f in FEATURES] == [v for v in reversed(EVERY) if "post" not in v]


@pytest.mark.parametrize("version", [pytest.param(v, marks=pytest.mark.slow) for v in EVERY])
def test_each_release_is_recognized_by_its_features(version: str) -> None:
    try:
        root = fetch.unpacked(version)
    except Offline as offline:
        pytest.skip(str(offline))
    assert order(nearest_release(root))[:3] == order(version)[:3]


def test_roles_follow_the_table() -> None:
    assert role_of("sglang.srt.mem_cache.radix_cache", "0.5.18") == "real"
    assert role_of("sglang.srt.mem_cache.storage.hf3fs.client", "0.5.18") == "placeholder"
    assert role_of("sglang.srt.managers", "0.5.18") == "synthetic"
    assembler = "sglang.srt.mem_cache.hybrid_cache.hybrid_pool_assembler"
    assert role_of(assembler, "0.5.20") == "placeholder"
    assert role_of(assembler, "0.5.20", "unified") == "real"
    quantization = "sglang.srt.layers.quantization.fp4_kv_cache_quant_method"
    assert role_of(quantization, "0.5.15.post1") == "placeholder"
    assert role_of(quantization, "0.5.16") == "real"
