"""Plain calls do what the target does; a helper that does less, or else, is noticed."""

from __future__ import annotations

import json

import pytest

from hicache_impl.sglang.releases import KNOWN, KNOWN_UNIFIED
from tests.fetched import fetched
from tests.processes import python


@pytest.mark.parametrize(
    ("release", "cache", "core"),
    [
        *(pytest.param(r, "hiradix", "python", marks=pytest.mark.slow) for r in KNOWN),
        *(pytest.param(r, "unified", "python", marks=pytest.mark.slow) for r in KNOWN_UNIFIED[:-1]),
        ("0.5.23", "unified", "python"),
        ("0.5.23", "unified", "rust"),
    ],
)
def test_plain_calls_do_what_the_target_does(release: str, cache: str, core: str) -> None:
    fetched(release)
    ran = python("-m", "tests.verify.plain_calls", release, "60", cache, core)
    assert ran.code == 0, ran.out + ran.err


MISTAKES = {
    "no lock during admission": {
        "admission = self.cache.inc_lock_ref(first).to_dec_params()": "pass",
        "self.cache.dec_lock_ref(first, admission)": "pass",
    },
    "no host pin during a load": {
        "pin = self.cache.inc_host_lock_ref(best).to_dec_params()": "pass",
        "self.cache.dec_host_lock_ref(best, pin)": "pass",
    },
    "a next chunk starts no loads": {
        "self.give(self.requests[number])\n        self.cache.ready_to_load_host_cache()": (
            "self.give(self.requests[number])"
        ),
    },
    "a request keeps the slots that it gave away": {
        "request.row = table[: len(request.row)].to(torch.int64)": "pass"
    },
    "a last page that is not full is forgotten": {
        "table[: len(request.row)]": "table[: request.cache_protected_len]"
    },
    "a request ends and keeps its lock": {"self.cache.unlock(request.lock)": "pass"},
    "a salt is left out": {"extra_key, cache_salt=salt)": "extra_key)"},
    "a batch ends without its backups": {"self.cache.flush_pending_backups()": "pass"},
}
"""What a helper has instead, by what it then does wrong."""

CHILD = """
import json, sys
from tests.verify import plain_calls
written, noticed = plain_calls.upstream_file, []

def with_mistakes(mistakes):
    def mistaken(*finding):
        text = written(*finding)
        for right, wrong in mistakes.items():
            text = text.replace(right, wrong)
        return text
    return mistaken

for name, mistakes in json.loads(sys.argv[1]).items():
    plain_calls.upstream_file = with_mistakes(mistakes)
    try:
        noticed += [name] * plain_calls.main("0.5.23", 20, "unified", "python")
    except Exception:
        noticed.append(name)
json.dump(noticed, sys.stdout)
"""


def test_a_helper_with_a_mistake_is_noticed() -> None:
    fetched("0.5.23")
    ran = python("-c", CHILD, json.dumps(MISTAKES))
    assert ran.code == 0, ran.err
    assert ran.json == list(MISTAKES)
