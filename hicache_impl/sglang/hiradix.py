"""The target: one real HiRadixCache, driven as SGLang's scheduler drives it.

What the cache raises comes through unchanged.
"""

from __future__ import annotations

from typing import Any, cast

import attrs

from hicache_impl.sglang import releases
from hicache_impl.sglang.build import Parts, build
from hicache_impl.sglang.differences import Calls
from hicache_impl.sglang.driven import DrivenTarget
from hicache_impl.sglang.loader import Loaded
from hicache_impl.sglang.observe import Observer, slots_of
from hicache_impl.sglang.requests import Scheduler
from hicache_impl.target import Description
from hicache_model import operations as op
from hicache_model.configuration import Configuration
from hicache_model.fingerprint import fingerprints
from hicache_model.outcomes import (
    Inserted,
    LoadedBack,
    Matched,
    OutOfMemory,
)


class HiRadixTarget(DrivenTarget):
    """Implements hicache_impl.target.Target. ``trusting=False`` observes everything afresh."""

    def __init__(self, parts: Parts, configuration: Configuration, trusting: bool = True) -> None:
        super().__init__(parts, configuration, trusting, Calls(parts))
        scheduler = Scheduler(self._calls, self._device_kv, self._forward)
        self._observer = Observer(
            self._calls, self._device_kv, scheduler.running, self._locks, self._host_locks
        )
        self._perform = self._operations(scheduler)

    # -- lookup and contents

    def _match(self, o: op.Match) -> Matched:
        matched = self._calls.match(o.tokens, o.namespace)
        slots = slots_of(matched.device_indices)
        return Matched(len(slots), matched.host_hit_length, slots)

    def _insert(self, o: op.Insert) -> Inserted | OutOfMemory:
        """The end of a request: its KV is in fresh slots, the cache takes what it does not have."""
        calls = self._calls
        count = calls.length_in_pages(len(o.tokens))
        if count == 0:
            return Inserted(0)
        fresh = calls.allocator.alloc(count)
        if fresh is None:
            return OutOfMemory(count)
        tokens = o.tokens[: count + self.configuration.bigram]
        self._device_kv.write(fresh, fingerprints(o.namespace, o.tokens[:count]))
        params = calls.base.InsertParams(
            key=calls.key(tokens, o.namespace),
            value=fresh,
            priority=o.priority,
            chunked=o.chunked,
        )
        prefix_length = self._cache.insert(params).prefix_len
        calls.allocator.free(fresh[:prefix_length])
        return Inserted(prefix_length)

    # -- transfers

    def _load_back(self, o: op.LoadBack) -> LoadedBack:
        matched = self._calls.match(o.tokens, o.namespace)
        if matched.host_hit_length == 0:
            return LoadedBack(0)
        loaded, _ = self._calls.load_back(matched, o.quota, None)
        return LoadedBack(len(loaded))


@attrs.define(frozen=True, slots=True)
class HiRadixFactory:
    """Makes HiRadixTargets of the one release that is loaded in this process."""

    loaded: Loaded
    trusting: bool = True
    description: Description = attrs.field(init=False)

    @description.default
    def _describe(self) -> Description:
        version = self.loaded.version
        return Description(
            target="sglang",
            release=version,
            origin=self.loaded.located.told_by,
            eviction_policies=releases.eviction_policies(version),
            host_may_be_smaller=releases.host_may_be_smaller(version),
            strips_thinking=version in releases.STRIPS_THINKING,
            bigram=True,
        )

    def build(self, configuration: Configuration) -> HiRadixTarget:
        """A fresh cache; RefusedSize (a ValueError) for sizes that the release refuses."""
        parts = build(self.loaded, cast(Any, configuration))
        return HiRadixTarget(parts, configuration, self.trusting)
