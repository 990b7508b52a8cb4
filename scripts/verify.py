"""The main job, as ``make verify`` runs it: one release with a known bug, one that carries the fix.

Exits 0 only when the first run finds the law ``host-leaves`` broken in 0.5.10.post1 (issue #19212)
and the second sees 0.5.18 agree. Uses the command line as anybody would, and nothing else of ours.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

AFFECTED = "0.5.10.post1"
FIXED = "0.5.18"
LAW = "host-leaves"
OUT = Path("out")

# A run keeps its own budget; these stop only what has run away. Seconds.
GRACE = 40
REPLAY_DEADLINE = 30

AGREED, DIVERGED, COULD_NOT_RUN = 0, 1, 2


class Run(NamedTuple):
    """What one ``hicache-verify run`` ended with; ``report`` is empty when it printed none."""

    exit_code: int
    report: dict[str, Any]
    seconds: float


def hicache_verify(*arguments: str) -> list[str]:
    """The command of the environment that runs this script."""
    return [str(Path(sys.executable).with_name("hicache-verify")), *arguments]


def run(release: str, write_policy: str, budget: int) -> Run:
    """Run it with ``--json``; progress and errors go straight to the terminal."""
    options = ["--release", release, "--write-policy", write_policy, "--budget", str(budget)]
    say("$ hicache-verify run " + " ".join(options))
    command = hicache_verify("run", *options, "--out", str(OUT / release), "--json")
    started = time.monotonic()
    exit_code, output = finish(command, budget + GRACE, stdout=subprocess.PIPE)
    return Run(exit_code, parse(output), time.monotonic() - started)


def finish(command: list[str], deadline: float, stdout: int | None = None) -> tuple[int, str]:
    """Exit code and captured output; past the deadline it is killed with its workers, exit 2."""
    try:
        process = subprocess.Popen(command, stdout=stdout, text=True, start_new_session=True)
    except FileNotFoundError:
        sys.exit(f"{command[0]} is missing; run this script with the Python of .venv: make verify")
    try:
        output, _ = process.communicate(timeout=deadline)
    except BaseException as error:  # also Ctrl-C, which does not reach a session of its own
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if not isinstance(error, subprocess.TimeoutExpired):
            raise
        say(f"  stopped: still running after {deadline:.0f} s")
        return COULD_NOT_RUN, ""
    return process.returncode, output or ""


def parse(text: str) -> dict[str, Any]:
    """The one JSON object on standard output, or nothing where it is no such object."""
    try:
        report = json.loads(text)
    except ValueError:
        return {}
    return report if isinstance(report, dict) else {}


def divergences(result: Run) -> list[dict[str, Any]]:
    return list(result.report.get("divergences") or [])


def show(result: Run) -> None:
    """One line for the run and one for each divergence."""
    report = result.report
    say(
        f"  {report.get('verdict', 'no report')}: {report.get('examples', '?')} examples, "
        f"{report.get('operations', '?')} operations, {result.seconds:.0f} s, "
        f"exit {result.exit_code}"
    )
    for found in divergences(result):
        say(f"  {found.get('law')} in {found.get('operations')} operations: {found.get('message')}")


def replay(trace: str) -> None:
    """Shows the finding step by step; what it exits with takes no part in the conclusion."""
    say(f"$ hicache-verify replay {trace} --release {AFFECTED}")
    finish(hicache_verify("replay", trace, "--release", AFFECTED), REPLAY_DEADLINE)


def say(line: str) -> None:
    print(line, flush=True)


def affected_release_diverges() -> tuple[bool, str]:
    """Whether issue #19212 was found from nothing, and the sentence that says so."""
    result = run(AFFECTED, "write_back", budget=20)
    show(result)
    found = [each for each in divergences(result) if each.get("law") == LAW]
    if found and found[0].get("trace"):
        replay(str(found[0]["trace"]))
    if result.exit_code != DIVERGED:
        return False, f"SGLang {AFFECTED} should diverge, but the run exited {result.exit_code}."
    if not found:
        return False, f"SGLang {AFFECTED} diverged, but the law {LAW} is not among the findings."
    return True, (
        f"SGLang {AFFECTED} parts from the model: {LAW}, in {found[0].get('operations')} "
        "operations (issue #19212)."
    )


def fixed_release_agrees() -> tuple[bool, str]:
    """Whether the release that carries the fix agrees under every write policy, in one sentence."""
    result = run(FIXED, "all", budget=45)
    show(result)
    if result.exit_code != AGREED:
        return False, f"SGLang {FIXED} should agree, but the run exited {result.exit_code}."
    return True, (
        f"SGLang {FIXED} agrees with it: {result.report.get('operations', '?')} operations "
        "under every write policy."
    )


def main() -> int:
    """Both runs, whatever the first one says, then the conclusion."""
    results = [affected_release_diverges(), fixed_release_agrees()]
    say("")
    for as_expected, sentence in results:
        say(f"{'ok  ' if as_expected else 'FAIL'} {sentence}")
    return 0 if all(as_expected for as_expected, _ in results) else 1


if __name__ == "__main__":
    sys.exit(main())
