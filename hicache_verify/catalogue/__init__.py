"""Known public defects: how each is reproduced, and which one a divergence looks like."""

from hicache_verify.catalogue.entries import ENTRIES, UnknownEntry, find
from hicache_verify.catalogue.entry import Entry, NamedTrace
from hicache_verify.catalogue.resemblance import resembles

__all__ = ["ENTRIES", "Entry", "NamedTrace", "UnknownEntry", "find", "resembles"]
