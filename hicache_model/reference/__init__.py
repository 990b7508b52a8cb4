"""The reference cache: what each operation does to the facts, and what it answers.

Written so that a cache's maintainer can read it in one sitting. It knows no slots (those are the
cache's own choice), takes everything derived from ``definitions``, and what a release does
differently on purpose from ``dialects``. Transfers finish when an operation says so.

Each file is one class that builds on the one before, so that nothing calls upwards: ``facts``,
``derived``, ``host``, ``writes``, ``eviction``, ``lookup``, ``locks``, ``loads``, ``requests``,
``retraction``, ``shown``, ``reference``. What an operation does, ``_op_`` and its name, is in the
file that it is about.
"""

from hicache_model.reference.loads import STARTED_LOADS
from hicache_model.reference.reference import Reference

__all__ = ["STARTED_LOADS", "Reference"]
