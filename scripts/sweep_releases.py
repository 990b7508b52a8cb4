"""Runs every release under every write policy, and writes docs/releases.md from what was seen.

    python scripts/sweep_releases.py --budget 60

It can be stopped at any time: each run is kept as a line of the state file, and what is there
already is not run again. ``--page-only`` writes the page anew from the state file.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, TypeAlias

from hicache_impl.sglang.releases import KNOWN
from hicache_model.configuration import WRITE_POLICIES
from hicache_model.operations import codec, describe

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "releases.md"
STATE = Path("out") / "sweep.jsonl"
GRACE = 300

Run: TypeAlias = dict[str, Any]
"""A line of the state file: what was asked for, when, and the report without its bulk."""

KEPT = ("verdict", "message", "operations", "seconds")
KEPT_OF_DIVERGENCE = (
    "law",
    "sentence",
    "kind",
    "message",
    "exception",
    "place",
    "operations",
    "minimized",
    "resembles",
    "configuration",
    "steps",
)

HEAD = """# Releases

This page is generated: `{command}`.

Each cell is a run of {budget:g} seconds against the unmodified release: how many operations agreed,
or the laws that broke, each with the number of operations of its shortest trace.
"""


def main() -> int:
    options = parse()
    state = State(options.state)
    for release in [] if options.page_only else options.release:
        for policy in options.write_policy:
            if not state.has(release, policy, options.budget, options.seed):
                state.add(sweep_one(release, policy, options.budget, options.seed, options.out))
    runs = state.latest(options.budget, options.seed)
    options.page.write_text(page(runs, options.budget, options.seed), encoding="utf-8")
    say(f"{options.page}: {len(runs)} runs")
    return 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--budget", type=float, default=60.0, help="seconds for each run")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--release", nargs="+", default=KNOWN, choices=KNOWN, metavar="V")
    parser.add_argument("--write-policy", nargs="+", default=WRITE_POLICIES, choices=WRITE_POLICIES)
    parser.add_argument("--state", type=Path, default=STATE, help="where runs are kept")
    parser.add_argument("--out", type=Path, default=STATE.parent / "sweep", help="for findings")
    parser.add_argument("--page", type=Path, default=PAGE)
    parser.add_argument("--page-only", action="store_true", help="run nothing")
    return parser.parse_args()


def say(line: str) -> None:
    print(line, flush=True)


# -- running ---------------------------------------------------------------------------------------


def sweep_one(release: str, policy: str, budget: float, seed: int, out: Path) -> Run:
    started = time.monotonic()
    report = finish(command(release, policy, budget, seed, out / release / policy), budget + GRACE)
    run = {
        "release": release,
        "write_policy": policy,
        "budget": budget,
        "seed": seed,
        "day": datetime.now(timezone.utc).date().isoformat(),
        **{key: report.get(key) for key in KEPT},
        "divergences": [
            {key: found.get(key) for key in KEPT_OF_DIVERGENCE}
            for found in report.get("divergences") or []
        ],
    }
    say(f"{release} {policy}: {cell(run)} [{time.monotonic() - started:.0f} s]")
    return run


def command(release: str, policy: str, budget: float, seed: int, out: Path) -> list[str]:
    options = ["--release", release, "--write-policy", policy, "--budget", f"{budget:g}"]
    more = ["--seed", str(seed), "--out", str(out), "--json"]
    return [sys.executable, "-m", "hicache_verify", "run", *options, *more]


def finish(command: list[str], deadline: float) -> dict[str, Any]:
    """The report; one with an error where there was none."""
    try:
        finished = subprocess.run(
            command, stdout=subprocess.PIPE, text=True, timeout=deadline, check=False
        )
        report = json.loads(finished.stdout)
    except subprocess.TimeoutExpired:
        return {"verdict": "error", "message": f"still running after {deadline:.0f} seconds"}
    except ValueError:
        return {"verdict": "error", "message": f"no report, exit code {finished.returncode}"}
    return report if isinstance(report, dict) else {"verdict": "error", "message": "no report"}


class State:
    """The runs so far, one a line."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.runs: list[Run] = []
        if path.exists():
            lines = path.read_text(encoding="utf-8").splitlines()
            self.runs = [json.loads(line) for line in lines]

    def has(self, release: str, policy: str, budget: float, seed: int) -> bool:
        """Whether this was run; what could not be run is tried again."""
        return any(
            (run["release"], run["write_policy"]) == (release, policy)
            for run in self.latest(budget, seed)
            if run["verdict"] in ("agree", "diverged")
        )

    def add(self, run: Run) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.runs.append(run)
        whole = self.path.with_suffix(".new")  # so that no line is ever half written
        whole.write_text("".join(f"{json.dumps(each)}\n" for each in self.runs), encoding="utf-8")
        whole.replace(self.path)

    def latest(self, budget: float, seed: int) -> list[Run]:
        """The last run of each release and policy, in the order of the table."""
        asked = [run for run in self.runs if (run["budget"], run["seed"]) == (budget, seed)]
        last = {(run["release"], run["write_policy"]): run for run in asked}
        return [last[key] for key in _cells() if key in last]


def _cells() -> list[tuple[str, str]]:
    return [(release, policy) for release in KNOWN for policy in WRITE_POLICIES]


# -- the page --------------------------------------------------------------------------------------


def page(runs: list[Run], budget: float, seed: int) -> str:
    asked = f"python scripts/sweep_releases.py --budget {budget:g} --seed {seed}"
    parts = [HEAD.format(command=asked, budget=budget), table(runs), *findings(runs)]
    return "\n".join(parts)


def table(runs: list[Run]) -> str:
    lines = ["| release | " + " | ".join(WRITE_POLICIES) + " | day |"]
    lines.append("| --- | " + "--- | " * len(WRITE_POLICIES) + "--- |")
    for release in KNOWN:
        row = {run["write_policy"]: run for run in runs if run["release"] == release}
        if row:
            cells = [cell(row[policy]) if policy in row else "not run" for policy in WRITE_POLICIES]
            day = max(run["day"] for run in row.values())
            lines.append(f"| {release} | {' | '.join(cells)} | {day} |")
    return "\n".join(lines) + "\n"


def cell(run: Run) -> str:
    if run["verdict"] == "agree":
        return f"agrees ({run['operations']:,} operations)"
    if run["verdict"] != "diverged":
        return f"could not run: {run['message']}"
    shortest: dict[str, int] = {}
    for found in run["divergences"]:
        law, length = found["law"], found["operations"]
        shortest[law] = min(length, shortest.get(law, length))
    return ", ".join(f"**{law}** ({length})" for law, length in shortest.items())


def findings(runs: Iterable[Run]) -> Iterator[str]:
    """One section for each distinct finding, the ones with a law of the cache first."""
    groups: dict[tuple[str, str], list[tuple[Run, dict[str, Any]]]] = {}
    for run in runs:
        for found in run["divergences"]:
            groups.setdefault(_identity(found), []).append((run, found))
    yield "## Findings\n" if groups else "Nothing was found.\n"
    for (law, place), members in groups.items():
        yield finding(law, place, members)


def finding(law: str, place: str, members: list[tuple[Run, dict[str, Any]]]) -> str:
    run, found = min(members, key=lambda member: member[1]["operations"])
    where: dict[str, list[str]] = {}
    for other, _ in members:
        where.setdefault(other["release"], []).append(other["write_policy"])
    seen = "; ".join(f"{release} ({', '.join(dict.fromkeys(p))})" for release, p in where.items())
    issues = sorted({each["resembles"] for _, each in members if each["resembles"]})
    configuration = ", ".join(f"{k} {v}" for k, v in (found["configuration"] or {}).items())
    steps = [f"{i}. {describe(codec.decode(step))}" for i, step in enumerate(found["steps"], 1)]
    lines = [
        f"### {law}{place}\n",
        f"{found['sentence']}\n" if found["sentence"] else "",
        f"- Seen in {seen}.",
        f"- Resembles {', '.join(issues)}." if issues else "",
        f"- Shortest trace, on {run['release']} under {run['write_policy']}"
        + (f" with {configuration}" if configuration else "")
        + ("" if found["minimized"] else " (not minimized)")
        + ":\n",
        *steps,
        f"\n  Then: {found['message']}.\n",
    ]
    return "\n".join(line for line in lines if line)


def _identity(found: dict[str, Any]) -> tuple[str, str]:
    """The law, and for an exception its class and the function that raised it, without the line."""
    if not found["exception"]:
        return found["law"], ""
    function = ":".join((found["place"] or "?").split(":")[:2])
    return found["law"], f": {found['exception']} in {function}"


if __name__ == "__main__":
    sys.exit(main())
