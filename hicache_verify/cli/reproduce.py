"""``hicache-verify reproduce``: known public issues, played on affected and fixed releases."""

from __future__ import annotations

from pathlib import Path

import click

from hicache_verify.cli.options import CONTEXT, json_option


@click.command(context_settings=CONTEXT)
@click.argument("issues", nargs=-1)
@click.option("--list", "list_", is_flag=True, help="Say what the catalogue holds.")
@click.option("--all", "all_", is_flag=True, help="Every entry.")
@click.option("--every-release", is_flag=True, help="On all releases that an entry names.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Write traces that diverge, and pytest files of them.",
)
@json_option
def reproduce(
    issues: tuple[str, ...],
    list_: bool,
    all_: bool,
    every_release: bool,
    out: Path | None,
    as_json: bool,
) -> int:
    """Play known ISSUES, such as 19212, step by step on affected, fixed and patched releases.

    Exit code 0: everything went as the catalogue says; 1: something did not; 2: could not be tried.
    """
    from hicache_verify.catalogue.command import reproduce_command

    return reproduce_command(issues, list_, all_, as_json, every_release=every_release, folder=out)
