"""Runs a test for SGLang's own folder on a release, in a process that has loaded it."""

from __future__ import annotations

import json
from pathlib import Path

from hicache_verify.catalogue.entry import SourcePatch
from tests.fetched import fetched
from tests.processes import Ran, python

CHILD = """
import json, sys
import pytest
from hicache_impl.sglang.loader import Patch, load
from hicache_impl.sglang.source import Release
path, folder, release, cache, patches = json.loads(sys.argv[1])
load(Release(release), [Patch(*patch) for patch in patches], cache=cache)
sys.exit(pytest.main(["-q", "-p", "no:cacheprovider", "--rootdir", folder, path]))
"""


def run_upstream(
    path: Path, release: str, cache: str = "hiradix", patch: SourcePatch | None = None
) -> Ran:
    """The file under pytest; skips where the release is out of reach."""
    fetched(release)
    given = [str(path), str(path.parent), release, cache, [] if patch is None else [patch]]
    return python("-c", CHILD, json.dumps(given))
