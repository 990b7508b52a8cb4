"""The findings of a campaign: each distinct one once, with how often it was met again."""

from __future__ import annotations

import attrs

from hicache_verify.catalogue.resemblance import resembles
from hicache_verify.divergence import Divergence
from hicache_verify.events import FindingFound, FindingSettled, Listener
from hicache_verify.findings import Finding, FoundAfter
from hicache_verify.messages import Case, Key, Leg, Minimized


class Ledger:
    """Every finding that is added is settled later: minimized, or as it was found."""

    def __init__(self, seed: int, emit: Listener) -> None:
        self.release = ""
        self._seed = seed
        self._emit = emit
        self._findings: dict[Key, Finding] = {}
        self._unsettled: Key | None = None
        self.laws: set[str] = set()

    def __len__(self) -> int:
        return len(self._findings)

    def __contains__(self, key: object) -> bool:
        return key in self._findings

    def __getitem__(self, key: Key) -> Finding:
        return self._findings[key]

    @property
    def keys(self) -> frozenset[Key]:
        return frozenset(self._findings)

    @property
    def findings(self) -> tuple[Finding, ...]:
        return tuple(self._findings.values())

    @property
    def unsettled(self) -> Finding | None:
        """The finding that is being minimized."""
        return None if self._unsettled is None else self._findings[self._unsettled]

    def add(self, divergence: Divergence, case: Case, leg: Leg, after: FoundAfter) -> None:
        divergence = self._likened(divergence)
        number = len(self._findings) + 1
        finding = Finding(number, leg.cell, leg.source, self._seed, divergence, case, after)
        self._findings[divergence.key] = finding
        self._unsettled = divergence.key
        self.laws.add(divergence.law)
        self._emit(FindingFound(finding))

    def settle(self, result: Minimized | None) -> None:
        """The finding that waits gets its last form; None where nothing shorter is known."""
        if self._unsettled is None:
            return
        key, self._unsettled = self._unsettled, None
        if result is not None:
            self._findings[key] = attrs.evolve(
                self._findings[key],
                case=result.case,
                divergence=self._likened(result.divergence),
                steps=result.steps,
                minimized=True,
            )
        self._emit(FindingSettled(self._findings[key]))

    def _likened(self, divergence: Divergence) -> Divergence:
        """With the public issue that it looks like, if the catalogue knows one."""
        return attrs.evolve(divergence, resembles=resembles(divergence, self.release))

    def repeat(self, key: Key, times: int) -> None:
        finding = self._findings[key]
        self.laws.add(finding.divergence.law)
        self._findings[key] = attrs.evolve(finding, repeats=finding.repeats + times)
