"""Components: what a tree caches beside full attention, in a pool of its own.

``component.py`` is the contract, and each component has a file.
A configuration has at most one; which, ``Configuration.component`` says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hicache_model.components.component import Component
from hicache_model.components.mamba import Mamba
from hicache_model.components.swa import SlidingWindow
from hicache_model.components.tracked_mamba import TrackedMamba

if TYPE_CHECKING:
    from hicache_model.reference import Reference

KINDS: dict[str, type[Component]] = {"full": Component, "swa": SlidingWindow, "mamba": Mamba}


def component_of(reference: Reference) -> Component:
    configuration = reference.configuration
    if configuration.component == "mamba" and configuration.state_buffers:
        return TrackedMamba(reference)
    return KINDS[configuration.component](reference)
