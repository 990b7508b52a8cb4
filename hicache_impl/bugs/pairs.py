"""A planted bug in keys that are pairs of tokens, of which a list has one less than tokens."""

from __future__ import annotations

from hicache_impl.bugs.bug import ANY_WRITE_POLICY, Bug
from hicache_impl.native.requests import Running, Scheduler


class GivesAwayTheLastToken(Scheduler):
    """Once its KV went to the cache, a request takes all that it has computed for the cache's."""

    def _cache_unfinished(self, request: Running, *, chunked: bool) -> None:
        super()._cache_unfinished(request, chunked=chunked)
        request.protected = request.computed


PAIRS = (
    Bug(
        identifier="unpaired-token-is-given-away",
        sentence="A request that goes on takes the slot of its last token for the cache's.",
        imitates="SGLang #10846, #13714",
        law="conservation",
        write_policies=ANY_WRITE_POLICY,
        bigram=True,
        length=1,
        scheduler=GivesAwayTheLastToken,
    ),
)
