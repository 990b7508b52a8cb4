"""``python -m benchmarks``: one run, one set of tables."""

from __future__ import annotations

import gc
import json
import os
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import click
from rich.console import Console

from benchmarks.mooncake import BLOCK, BadRequests
from benchmarks.tables import Table

if TYPE_CHECKING:
    from benchmarks.serving import Load
    from hicache_impl.sglang.hiradix import HiRadixFactory
    from hicache_impl.target import TargetFactory

os.environ.setdefault("OMP_NUM_THREADS", "1")

SECTIONS = ("speed", "growth", "memory", "serving", "copies", "find", "bugs", "profile")
USUAL = ("speed", "growth", "memory", "serving", "copies")
TARGETS = ("sglang", "unified", "unified-rust", "native")
USUAL_TARGETS = ("sglang", "native")
RELEASES = {"sglang": "0.5.18", "unified": "0.5.23", "unified-rust": "0.5.23"}
"""What is measured where no release is named."""
POLICIES = ("write_back", "write_through", "write_through_selective")
SHARE = click.FloatRange(0, 1, min_open=True)
PAGE = """# Benchmarks

This page is generated: `{command}`.

What it costs to run a model beside a cache and to compare both after every operation.
All figures of a table come from one run on one machine; the ratios mean more than the times.
"""


@attrs.frozen
class Options:
    target: tuple[str, ...]
    release: str | None
    policies: tuple[str, ...]
    page_size: int
    rounds: int
    examples: int
    nodes: tuple[int, ...]
    operations: int
    seeds: int
    budget: float
    bug: tuple[str, ...]
    trace: Path | None
    requests: int
    block_tokens: int
    device_share: float
    host_share: float
    serving_page_size: tuple[int, ...]

    def load(self) -> Load:
        """What the caches of the section ``serving`` meet."""
        from benchmarks.conversations import conversations
        from benchmarks.mooncake import read
        from benchmarks.serving import Load

        if self.trace is None:
            name, requests = "Conversations made here", conversations(self.requests)
        else:
            name, requests = self.trace.name, read(self.trace, self.requests)
        return Load(name, requests, self.block_tokens, self.device_share, self.host_share)


@click.command(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.option("--target", multiple=True, type=click.Choice(TARGETS), default=USUAL_TARGETS)
@click.option("--release", show_default="0.5.18 of sglang, 0.5.23 of unified")
@click.option("--write-policy", type=click.Choice([*POLICIES, "all"]), default="write_back")
@click.option("--page-size", type=click.IntRange(1, 64), default=1)
@click.option("--only", multiple=True, type=click.Choice(SECTIONS), help="Just this section.")
@click.option("--rounds", type=click.IntRange(1), default=7, help="Of the table of speed.")
@click.option("--examples", type=click.IntRange(2), default=60, help="In one round.")
@click.option("--nodes", multiple=True, type=click.IntRange(10), default=(10, 100, 1_000, 10_000))
@click.option("--memory", "operations", type=click.IntRange(100), default=20_000, metavar="N")
@click.option("--find", is_flag=True, help="Also: how long it takes to find #19212.")
@click.option("--seeds", type=click.IntRange(1), default=10, help="Of find and bugs.")
@click.option(
    "--budget", type=click.FloatRange(1), default=60, help="Of each seed of find and bugs."
)
@click.option("--bug", multiple=True, metavar="ID", help="Of bugs: only this one.")
@click.option("--profile", is_flag=True, help="Also: where the time goes.")
@click.option(
    "--trace",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Requests of serving, in the Mooncake format; without it some are made.",
)
@click.option("--requests", type=click.IntRange(1), default=300, help="The first N of serving.")
@click.option("--block-tokens", type=click.IntRange(1, BLOCK), default=BLOCK, help="Of serving.")
@click.option("--device-share", type=SHARE, default=0.1, help="Of all different tokens.")
@click.option("--host-share", type=SHARE, default=0.3, help="Of all different tokens.")
@click.option("--serving-page-size", multiple=True, type=click.IntRange(1, 64), default=(1, 16, 64))
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
@click.option("--markdown", is_flag=True, help="A page of documentation on standard output.")
def main(
    write_policy: str, only: tuple[str, ...], find: bool, profile: bool, as_json: bool,
    markdown: bool, **given: object,
) -> None:  # fmt: skip
    """Measure the cost of verification, each thing beside the cache alone in the same run."""
    policies = POLICIES if write_policy == "all" else (write_policy,)
    options = Options(policies=policies, **given)  # type: ignore[arg-type]
    also = [name for name, asked in (("find", find), ("profile", profile)) if asked]
    sections = dict.fromkeys([*(only or USUAL), *also])
    people = Console()
    progress = Console(stderr=True)
    tables = []

    def say(text: str) -> None:
        progress.print(text, style="dim")

    try:
        for table in measured(options, tuple(sections), say):
            tables.append(table)
            if not (as_json or markdown):
                people.print(table.for_people())
    except BadRequests as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        click.echo(json.dumps({"tables": [table.for_machines() for table in tables]}))
    elif markdown:
        click.echo(page(tables), nl=False)


def measured(
    options: Options, sections: tuple[str, ...], say: Callable[[str], None]
) -> Iterator[Table]:
    """The tables of the sections, one after the other."""
    if set(sections) - {"find", "bugs"}:
        yield from _in_process(options, sections, say)
    if "find" in sections:
        from benchmarks import find

        yield find.table(options.seeds, options.budget, say)
    if "bugs" in sections:
        from benchmarks import bugs

        yield bugs.table(options.bug, options.seeds, options.budget, say)


def _in_process(
    options: Options, sections: tuple[str, ...], say: Callable[[str], None]
) -> Iterator[Table]:
    import torch

    torch.set_num_threads(1)
    _refuse_two_caches(options.target, sections)
    pairs = [_factories(target, options.release) for target in options.target]
    for policy in options.policies:
        for factory, naive in pairs:
            yield from _of_target(factory, naive, policy, options, sections, say)
    if "serving" in sections:
        from benchmarks import serving

        pages = options.serving_page_size
        given = options.load(), options.policies, pages, options.rounds
        yield serving.table(_hiradix(options.release), *given, say)
    if "copies" in sections:
        from benchmarks import copies

        yield copies.table(copies.TOKENS, say)


def _refuse_two_caches(targets: Sequence[str], sections: Collection[str]) -> None:
    """A process holds one cache of one release."""
    unified = any(target.startswith("unified") for target in targets)
    if unified and ("sglang" in targets or "serving" in sections):
        raise click.UsageError(
            "a process holds one cache of SGLang: measure unified and unified-rust in a run "
            "without the target sglang and the section serving (--only speed, for one)"
        )


def _factories(target: str, release: str | None) -> tuple[TargetFactory, TargetFactory]:
    """Of one target, as it is and such that observe everything afresh."""
    from hicache_impl.native.target import NativeFactory
    from hicache_impl.sglang.hiradix import HiRadixFactory
    from hicache_impl.sglang.loader import load
    from hicache_impl.sglang.source import Release
    from hicache_impl.sglang.unified.build import PYTHON_CORE, RUST_CORE
    from hicache_impl.sglang.unified.target import UnifiedFactory

    if target == "native":
        return NativeFactory(), NativeFactory(trusting=False)
    if target == "sglang":
        hiradix = _hiradix(release)
        return hiradix, HiRadixFactory(hiradix.loaded, trusting=False)
    loaded = load(Release(release or RELEASES[target]), cache="unified")
    core = RUST_CORE if target == "unified-rust" else PYTHON_CORE
    return UnifiedFactory(loaded, core), UnifiedFactory(loaded, core, trusting=False)


def _hiradix(release: str | None) -> HiRadixFactory:
    from hicache_impl.sglang.hiradix import HiRadixFactory
    from hicache_impl.sglang.loader import load
    from hicache_impl.sglang.source import Release

    return HiRadixFactory(load(Release(release or RELEASES["sglang"])))


def _of_target(
    factory: TargetFactory,
    naive: TargetFactory,
    policy: str,
    options: Options,
    sections: tuple[str, ...],
    say: Callable[[str], None],
) -> Iterator[Table]:
    """The sections that one target has. ``naive`` makes such that observe afresh each time."""
    from benchmarks import growth, memory, shares
    from benchmarks.speed import Speed
    from hicache_verify.campaigns.cells import Cell

    cell = Cell(policy, options.page_size, "lru")
    gc.collect()
    gc.freeze()  # as a worker does when its target is open
    if "speed" in sections:
        yield Speed(factory, naive, cell, options.examples, options.rounds).table(say)
    if "growth" in sections:
        yield growth.table(factory, options.nodes, policy, say)
    if "memory" in sections:
        yield memory.table(factory, cell, options.operations, say)
    if "profile" in sections:
        yield shares.table(factory, cell, 4 * options.examples, max(options.nodes), say)


def page(tables: list[Table]) -> str:
    import sys

    command = " ".join(["python -m benchmarks", *sys.argv[1:]])
    return "\n".join([PAGE.format(command=command), *(table.for_documents() for table in tables)])


if __name__ == "__main__":
    main(prog_name="python -m benchmarks")
