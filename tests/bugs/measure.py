"""How many operations it takes to find each bug: ``python -m tests.bugs.measure SEEDS [ID ...]``.

Prints a line for each: its name, the mean and the most operations, the lengths of its minimized
traces (of some seeds) with how often each came, and the laws. Takes minutes.
"""

from __future__ import annotations

import sys
from collections import Counter

from hicache_impl.bugs import BANK, Bug, find
from hicache_verify.campaigns.planted import cell_of
from tests.bugs.search import hunt, shortest

LIMIT = 200_000
MINIMIZED = 8


def line(bug: Bug, seeds: int) -> str:
    factory, cell = bug.factory(), cell_of(bug)
    hunts = [hunt(factory, cell, seed, LIMIT) for seed in range(seeds)]
    operations = [hunted.operations for hunted in hunts]
    laws = Counter(hunted.found and hunted.found.law for hunted in hunts)
    lengths = Counter(len(shortest(hunted).operations) for hunted in hunts[:MINIMIZED])
    mean = sum(operations) / seeds
    return (
        f"{bug.identifier:<36} mean {mean:>7.0f}  most {max(operations):>6}  "
        f"lengths {dict(sorted(lengths.items()))}  laws {dict(laws)}\n"
    )


if __name__ == "__main__":
    seeds, *names = sys.argv[1:]
    for name in names or BANK:
        sys.stdout.write(line(find(name), int(seeds)))
        sys.stdout.flush()
