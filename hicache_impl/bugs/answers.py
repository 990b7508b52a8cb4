"""Planted bugs in what a lookup answers, while the tree and its memory are as they should be.

They concern requests that wait, for which the scheduler only asks: one that is admitted looks again
(``Scheduler._find``), and rightly.
"""

from __future__ import annotations

from hicache_impl.bugs.bug import ANY_WRITE_POLICY, Bug
from hicache_impl.native.cache import HierarchicalCache, Match
from hicache_impl.native.parts import Kinds
from hicache_impl.native.pools import Slots, slots_of
from hicache_impl.native.requests import Scheduler
from hicache_impl.native.settings import Settings
from hicache_impl.native.tree import Tokens


class LooksAgain(Scheduler):
    def _find(self, tokens: Tokens, namespace: str | None) -> Match:
        return HierarchicalCache.match(self.cache, tokens, namespace)


class AnyNamespace(HierarchicalCache):
    """Where nothing is found in the namespace, what any other one has for these tokens is."""

    def match(self, tokens: Tokens, namespace: str | None = None) -> Match:
        found = super().match(tokens, namespace)
        nothing = found.node is self.tree.root
        return found._replace(slots=self._of_another(tokens)) if nothing else found

    def _of_another(self, tokens: Tokens) -> Slots:
        for node in self.tree.root.children.values():
            shared = self.tree.shared_length(node.key, tokens, 0)
            if shared and node.device is not None:
                return node.device[:shared]
        return slots_of(())


class RemembersLengths(HierarchicalCache):
    """How long an answer was is remembered, and what came in meanwhile is left out."""

    def __init__(self, settings: Settings, kinds: Kinds | None = None) -> None:
        super().__init__(settings, kinds)
        self.lengths: dict[tuple[Tokens, str | None], int] = {}

    def match(self, tokens: Tokens, namespace: str | None = None) -> Match:
        found = super().match(tokens, namespace)
        known = self.lengths.setdefault((tokens, namespace), len(found.slots))
        return found._replace(slots=found.slots[:known])


ANSWERS = (
    Bug(
        identifier="lookup-reads-another-namespace",
        sentence="A lookup that finds nothing answers with what another namespace has.",
        imitates="SGLang #26747, #37058, #38577",
        law="namespace-isolation",
        write_policies=ANY_WRITE_POLICY,
        length=2,
        cache=AnyNamespace,
        scheduler=LooksAgain,
    ),
    Bug(
        identifier="lookup-answers-from-memory",
        sentence="A lookup that was made before answers with no more than it did then.",
        imitates="vLLM #37076, #49125",
        law="longest-prefix",
        write_policies=ANY_WRITE_POLICY,
        length=3,
        cache=RemembersLengths,
        scheduler=LooksAgain,
    ),
)
