"""The main job, as ``make verify`` runs it: a cache of our own, then two releases of SGLang.

Exits 0 only when our cache agrees, the same cache with the mistake of SGLang issue #19212 in it
breaks the law ``host-leaves``, so does 0.5.10.post1, which has it, and 0.5.18, which carries the
fix, agrees. Uses the command line as anybody would, and nothing else of ours. The first two need
nothing but the packages; the releases are fetched from the package index.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

AFFECTED = "0.5.10.post1"
FIXED = "0.5.18"
LAW = "host-leaves"
BUG = "host-leaf-asks-evicted"
OUT = Path("out")

# A run keeps its own budget; these stop only what has run away. Seconds.
GRACE = 90
REPLAY_DEADLINE = 30

AGREED, DIVERGED, COULD_NOT_RUN = 0, 1, 2


class Run(NamedTuple):
    """What one ``hicache-verify run`` ended with; ``report`` is empty when it printed none."""

    exit_code: int
    report: dict[str, Any]
    seconds: float


class Claim(NamedTuple):
    """What was to be seen, and whether it was."""

    holds: bool
    sentence: str


def hicache_verify(*arguments: str) -> list[str]:
    """The command of the environment that runs this script."""
    return [str(Path(sys.executable).with_name("hicache-verify")), *arguments]


def run(name: str, options: Sequence[str], budget: int) -> Run:
    """Run it with ``--json``; progress and errors go straight to the terminal."""
    options = [*options, "--budget", str(budget)]
    say("$ hicache-verify run " + " ".join(options))
    command = hicache_verify("run", *options, "--out", str(OUT / name), "--json")
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


def replay(trace: str, options: Sequence[str]) -> None:
    """Shows the finding step by step; what it exits with takes no part in the conclusion."""
    say(f"$ hicache-verify replay {trace} " + " ".join(options))
    finish(hicache_verify("replay", trace, *options), REPLAY_DEADLINE)


def say(line: str) -> None:
    print(line, flush=True)


def agrees(who: str, name: str, options: Sequence[str], budget: int) -> Claim:
    """Whether this cache agrees wherever it was looked at."""
    result = run(name, options, budget)
    show(result)
    if result.exit_code != AGREED:
        return Claim(False, f"{who} should agree, but the run exited {result.exit_code}.")
    operations = result.report.get("operations", "?")
    return Claim(True, f"{who} agrees with the model: {operations} operations.")


def diverges(who: str, name: str, options: Sequence[str], budget: int) -> Claim:
    """Whether the run finds, from nothing, the law broken that issue #19212 breaks."""
    result = run(name, options, budget)
    show(result)
    found = [each for each in divergences(result) if each.get("law") == LAW]
    if result.exit_code != DIVERGED:
        return Claim(False, f"{who} should diverge, but the run exited {result.exit_code}.")
    if not found:
        return Claim(False, f"{who} diverged, but the law {LAW} is not among the findings.")
    if found[0].get("trace"):
        replay(str(found[0]["trace"]), options)
    length = found[0].get("operations")
    return Claim(True, f"{who} parts from the model: {LAW}, in {length} operations.")


def main() -> int:
    """Every run, whatever the ones before it say, then the conclusion."""
    everywhere = ["--write-policy", "all", "--page-size", "1,4"]
    native = ["--target", "native"]
    claims = [
        agrees("Our own cache", "native", [*native, *everywhere], budget=24),
        diverges(
            "The same with the mistake of SGLang issue #19212",
            BUG,
            [*native, "--bug", BUG],
            budget=4,
        ),
        diverges(
            f"SGLang {AFFECTED}, which has that mistake,",
            AFFECTED,
            ["--release", AFFECTED],
            budget=20,
        ),
        agrees(
            f"SGLang {FIXED}, which does not,",
            FIXED,
            ["--release", FIXED, "--write-policy", "all"],
            budget=40,
        ),
    ]
    say("")
    for claim in claims:
        say(f"{'ok  ' if claim.holds else 'FAIL'} {claim.sentence}")
    return 0 if all(claim.holds for claim in claims) else 1


if __name__ == "__main__":
    sys.exit(main())
