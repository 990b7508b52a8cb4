"""Time is counted for the innermost part."""

from __future__ import annotations

import pytest

from benchmarks import shares
from benchmarks.shares import MENU, MODEL, SOURCE, Stopwatch


def test_no_moment_counts_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    moments = iter(range(100))
    monkeypatch.setattr("time.perf_counter", lambda: float(next(moments)))
    watch = Stopwatch()
    inner = watch.watch(MODEL, lambda: None)
    watch.watch(MENU, inner)()
    assert watch.seconds == {SOURCE: 1.0, MENU: 2.0, MODEL: 1.0}
    assert sum(watch.shares().values()) == pytest.approx(1)


def test_a_part_that_raises_is_over() -> None:
    def fail() -> None:
        raise RuntimeError

    watch = Stopwatch()
    with pytest.raises(RuntimeError):
        watch.watch(MODEL, fail)()
    assert watch._running == [SOURCE]


def test_every_part_exists_and_is_put_back() -> None:
    before = [getattr(owner, name) for _, owner, names in shares.PARTS for name in names]
    with Stopwatch().running():
        pass
    after = [getattr(owner, name) for _, owner, names in shares.PARTS for name in names]
    assert before == after
