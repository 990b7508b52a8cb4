"""The example: the cache as a library."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LINE = re.compile(r"turn \d, user \d: +(\d+) .* device, +(\d+) .* host, +(\d+) computed; (\w+)")


def test_the_example_answers_rightly_from_the_device_and_from_the_host() -> None:
    command = [sys.executable, str(ROOT / "examples" / "serving_loop.py")]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    turns = [LINE.fullmatch(line) for line in ran.stdout.splitlines()]
    assert len(turns) == 12
    found = [turn.groups() for turn in turns if turn is not None]
    assert [answer for *_, answer in found] == ["right"] * 12
    assert any(int(device) > 0 and int(host) > 0 for device, host, _, _ in found)


def test_the_example_would_notice_a_wait_that_is_left_out(tmp_path: Path) -> None:
    text = (ROOT / "examples" / "serving_loop.py").read_text()
    assert text.count("loads.wait_layer(layer)") == 1
    path = tmp_path / "hasty.py"
    path.write_text(text.replace("loads.wait_layer(layer)", "pass"))
    ran = subprocess.run(
        [sys.executable, str(path)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert "WRONG" in ran.stdout, ran.stderr
