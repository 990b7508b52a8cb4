"""The bank of planted bugs: edits of a real release's cache, each with the laws that must find it.

One file for each kind: leaves, counts, memory, tiers, forward, answers, window, states,
tracked_states and pairs. Each is a mistake that somebody could make, or has made, in the upkeep
that a hierarchical cache does by hand.
"""

from __future__ import annotations

from collections.abc import Mapping

from tests.planted.answers import ANSWERS
from tests.planted.bug import Planted
from tests.planted.counts import COUNTS
from tests.planted.equivalent import EQUIVALENT
from tests.planted.forward import FORWARD
from tests.planted.leaves import LEAVES
from tests.planted.memory import MEMORY
from tests.planted.pairs import PAIRS
from tests.planted.states import STATES
from tests.planted.tiers import TIERS
from tests.planted.tracked_states import TRACKED_STATES
from tests.planted.window import WINDOW

BANK: Mapping[str, Planted] = {
    bug.name: bug
    for bug in (
        *LEAVES,
        *COUNTS,
        *MEMORY,
        *TIERS,
        *FORWARD,
        *ANSWERS,
        *WINDOW,
        *STATES,
        *TRACKED_STATES,
        *PAIRS,
    )
}
HARMLESS: Mapping[str, Planted] = {entry.bug.name: entry.bug for entry in EQUIVALENT}
