"""``hicache-verify docs``: the pages that are generated from the code."""

from __future__ import annotations

import importlib

import click

from hicache_verify.cli.options import CONTEXT


@click.command(context_settings=CONTEXT)
@click.option("--check", is_flag=True, help="Write nothing; fail where a page is stale.")
def docs(check: bool) -> int:
    """Write the generated pages of docs/ (for those who work on this tool)."""
    try:
        generate = importlib.import_module("hicache_verify.docs.generate")
    except ModuleNotFoundError as error:
        raise click.ClickException(f"the pages cannot be generated here: {error}") from error
    return int(generate.docs_command(check))
