"""How much the state machines do: three profiles of Hypothesis, chosen by HYPOTHESIS_PROFILE."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

VARIABLE = "HYPOTHESIS_PROFILE"
DEFAULT = "dev"

PROFILES: dict[str, settings] = {
    # seconds; other examples every time, and what failed before comes first
    "dev": settings(max_examples=8, stateful_step_count=30),
    # the same examples every time: a failure is about the change under test
    "ci": settings(max_examples=100, stateful_step_count=40, derandomize=True, database=None),
    # as much as a night allows
    "nightly": settings(max_examples=2_000, stateful_step_count=60),
}


class UnknownProfile(ValueError):
    """HYPOTHESIS_PROFILE names no profile."""


def load_chosen() -> None:
    """Register the profiles and load the chosen one, for all of this process."""
    name = os.environ.get(VARIABLE) or DEFAULT
    if name not in PROFILES:
        raise UnknownProfile(f"{VARIABLE}={name:.60}; known are {', '.join(PROFILES)}")
    for known, profile in PROFILES.items():
        settings.register_profile(
            known,
            profile,
            deadline=None,  # a real cache is built in every example
            print_blob=False,  # the report lists the operations
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        )
    settings.load_profile(name)
