"""The laws: what must hold of any snapshot, or of any step, without asking the model.

Each is one sentence, stated positively, with the public bug that taught it. A law sees one
``Step``: the snapshots before and after, the operation and what it answered. Laws about one
snapshot look only at ``after``. Every law is shown to fail by a planted bug in tests/.
"""

from hicache_model.laws.component import COMPONENT_LAWS
from hicache_model.laws.law import LAWS, Check, Law, Violation, judge, law
from hicache_model.laws.step import Owners, Step, pages_of

# A law is declared by being imported, and judged in the order of the declarations: the first one
# that is broken names a divergence.
# isort: off
from hicache_model.laws import (  # noqa: F401
    leaves,
    transfers,
    tree,
    memory,
    holders,
    contents,
    lookups,
    loads,
    inserts,
    evictions,
    reset,
    component_values,
    component_holders,
    component_steps,
)
# isort: on

__all__ = [
    "COMPONENT_LAWS",
    "LAWS",
    "Check",
    "Law",
    "Owners",
    "Step",
    "Violation",
    "judge",
    "law",
    "pages_of",
]
