"""``hicache-verify docs``: the pages that are generated from the code."""

from __future__ import annotations

from pathlib import Path

import click

from hicache_verify.cli.options import CONTEXT

FOLDER = Path("docs")


@click.command(context_settings=CONTEXT)
@click.option("--check", is_flag=True, help="Write nothing; fail where a page is stale.")
def docs(check: bool) -> int:
    """Write the generated pages of docs/ (in a checkout, for those who work on this tool)."""
    from hicache_verify.docs import StaleDocs, generate

    if not FOLDER.is_dir():
        raise click.ClickException("there is no folder docs here; run this in a checkout")
    try:
        names = generate(FOLDER, check=check)
    except StaleDocs as error:
        raise click.ClickException(str(error)) from error
    for name in names:
        click.echo(f"{FOLDER / name} written")
    return 0
