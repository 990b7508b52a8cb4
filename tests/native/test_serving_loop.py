"""The example: the cache as a library."""

from __future__ import annotations

import re
from pathlib import Path

from tests.processes import ROOT, python

EXAMPLE = ROOT / "examples" / "serving_loop.py"
LINE = re.compile(r"turn \d, user \d: +(\d+) .* device, +(\d+) .* host, +(\d+) computed; (\w+)")


def test_the_example_answers_rightly_from_the_device_and_from_the_host() -> None:
    ran = python(str(EXAMPLE))
    assert ran.code == 0, ran.err
    turns = [LINE.fullmatch(line) for line in ran.out.splitlines()]
    assert len(turns) == 12
    found = [turn.groups() for turn in turns if turn is not None]
    assert [answer for *_, answer in found] == ["right"] * 12
    assert any(int(device) > 0 and int(host) > 0 for device, host, _, _ in found)


def test_the_example_would_notice_a_wait_that_is_left_out(tmp_path: Path) -> None:
    text = EXAMPLE.read_text()
    assert text.count("loads.wait_layer(layer)") == 1
    path = tmp_path / "hasty.py"
    path.write_text(text.replace("loads.wait_layer(layer)", "pass"))
    ran = python(str(path))
    assert "WRONG" in ran.out, ran.err
