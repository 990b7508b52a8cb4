"""``hicache-verify releases``: what can be verified, and what lies in the cache already."""

from __future__ import annotations

import sys
from typing import Any

import click

from hicache_verify.cli.options import CONTEXT, json_option


@click.command(context_settings=CONTEXT)
@json_option
def releases(as_json: bool) -> int:
    """List the releases that can be verified and which of them are cached here."""
    rows = _rows()
    if as_json:
        from hicache_verify.report import json_report

        json_report.write(sys.stdout, {"releases": rows})
    else:
        _table(rows)
    return 0


def _rows() -> list[dict[str, Any]]:
    from hicache_impl.sglang import fetch
    from hicache_impl.sglang import releases as known

    cached = set(fetch.cached_releases())
    return [
        {
            "release": release,
            "cached": release in cached,
            "serves": known.CLASSES[known.default_cache(release)],
            "caches": [cache for cache in known.KNOWN_OF if release in known.KNOWN_OF[cache]],
            "eviction_policies": list(known.eviction_policies(release)),
            "host_may_be_smaller": known.host_may_be_smaller(release),
        }
        for release in sorted({*known.KNOWN, *known.KNOWN_UNIFIED}, key=known.order)
    ]


def _table(rows: list[dict[str, Any]]) -> None:
    from rich.table import Table
    from rich.text import Text

    from hicache_verify.report.terminal import console

    out = console()
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("sglang", "cached here", "a server uses", "--cache", "eviction policies"):
        table.add_column(name)
    for row in rows:
        cached = Text("yes", "green") if row["cached"] else Text("no", "dim")
        policies = " ".join(row["eviction_policies"])
        caches = ", ".join(row["caches"])
        table.add_row(Text(row["release"], "bold"), cached, row["serves"], caches, policies)
    out.print(table)
    out.print(Text("Others are fetched by pip when they are first used.", "dim"))
