"""The findings of a campaign: each distinct one once, with its shortest case so far."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import attrs

from hicache_verify.catalogue.resemblance import likened
from hicache_verify.divergence import Divergence
from hicache_verify.events import FindingFound, FindingSettled, Listener
from hicache_verify.findings import Finding, FoundAfter
from hicache_verify.workers.messages import Case, Key, Known, Leg, Minimized


class Ledger:
    """Every finding that is added is settled later, minimized or as it was found; some get shorter
    again after that.
    """

    def __init__(self, seed: int, emit: Listener) -> None:
        self.target = self.release = ""
        self._seed = seed
        self._emit = emit
        self._findings: dict[Key, Finding] = {}
        self._unsettled: set[Key] = set()
        self._tries: Counter[Key] = Counter()
        self.laws: set[str] = set()

    def restore(self, findings: Iterable[Finding], unsettled: Iterable[Key]) -> None:
        """Begin with what an earlier run found."""
        self._findings = {finding.divergence.key: finding for finding in findings}
        self._unsettled = set(unsettled)

    def __len__(self) -> int:
        return len(self._findings)

    def __contains__(self, key: object) -> bool:
        return key in self._findings

    def __getitem__(self, key: Key) -> Finding:
        return self._findings[key]

    def known(self) -> dict[Key, Known]:
        """What a worker is told, so that it need not report it again."""
        return {
            key: Known(len(f.case.operations), f.case.has_requests, self._tries[key])
            for key, f in self._findings.items()
        }

    @property
    def findings(self) -> tuple[Finding, ...]:
        return tuple(self._findings.values())

    def add(self, divergence: Divergence, case: Case, leg: Leg, after: FoundAfter) -> None:
        divergence = self._likened(divergence, case)
        number = len(self._findings) + 1
        finding = Finding(number, leg.cell, leg.source, self._seed, divergence, case, after)
        self._findings[divergence.key] = finding
        self._unsettled.add(divergence.key)
        self.laws.add(divergence.law)
        self._emit(FindingFound(finding))

    def give_up(self, *keys: Key) -> None:
        """Findings that wait to be minimized stay as they were found; all, if none is named."""
        for key in keys or self._findings:
            if key in self._unsettled:
                self._unsettled.discard(key)
                self._emit(FindingSettled(self._findings[key]))

    def settle(self, result: Minimized) -> None:
        """A finding gets its shortest case so far."""
        key = result.key
        self._tries[key] += 1
        old = self._findings[key]
        waits = key in self._unsettled
        if not waits and len(result.case.operations) >= len(old.case.operations):
            return
        self._findings[key] = attrs.evolve(
            old,
            case=result.case,
            divergence=self._likened(result.divergence, result.case),
            steps=result.steps,
            minimized=True,
        )
        self._unsettled.discard(key)
        self._emit(FindingSettled(self._findings[key]))

    def _likened(self, divergence: Divergence, case: Case) -> Divergence:
        return likened(divergence, self.release, self.target, case.configuration)

    def repeat(self, key: Key, times: int) -> None:
        finding = self._findings[key]
        self.laws.add(finding.divergence.law)
        self._findings[key] = attrs.evolve(finding, repeats=finding.repeats + times)
