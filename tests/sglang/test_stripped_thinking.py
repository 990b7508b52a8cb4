"""Releases that strip thoughts agree once their one mistake is mended, with any component."""

from __future__ import annotations

import json
from typing import Any

import pytest

from hicache_model.operations import BeginRequest, DecodeRequest, FinishRequest
from hicache_verify.catalogue.thinking import STRIPPED_THINKING
from tests.processes import python
from tests.sglang.test_unified_window import RELEASE, run

HUNT = """
import json, sys
from hicache_verify.campaigns.cells import Cell
from hicache_verify.catalogue.thinking import STRIPPED_THINKING
from tests.planted.search import hunt, released
release, component, page, mended = json.loads(sys.argv[1])
patches = (STRIPPED_THINKING.patch,) if mended else ()
cell = Cell("write_through", page, "lru", component, strip_thinking=True)
print(json.dumps(hunt(released(release, patches), cell, seed=0, limit=1_500)))
"""


def hunted(component: str, page: int, *, mended: bool) -> Any:
    return python("-c", HUNT, json.dumps([RELEASE, component, page, mended])).json


@pytest.mark.parametrize(("component", "page"), [("full", 2), ("swa", 2), ("mamba", 1)])
def test_the_defect_is_found_and_with_the_patch_nothing_else(component: str, page: int) -> None:
    assert hunted(component, page, mended=False)["law"] in STRIPPED_THINKING.laws
    assert not hunted(component, page, mended=True)["found"]


@pytest.mark.parametrize(
    "sizes",
    [
        {"component": "swa", "window": 2},
        {"component": "mamba"},
        {"component": "mamba", "state_buffers": 2},
    ],
    ids=str,
)
def test_a_request_leaves_its_prompt_with_any_component(sizes: dict[str, Any]) -> None:
    *_, finished = run(
        BeginRequest(0, (1, 2), 2),
        DecodeRequest(0, 3),
        DecodeRequest(0, 4),
        FinishRequest(0),
        strip_thinking=True,
        **sizes,
    )
    assert finished[1].keys() == {"(1, 2)"}
