"""The target: one real UnifiedRadixCache, driven as SGLang's scheduler drives it.

What the cache raises comes through unchanged.
"""

from __future__ import annotations

import contextlib
import io
from typing import Any, cast

import attrs

from hicache_impl.sglang import releases
from hicache_impl.sglang.build import Parts
from hicache_impl.sglang.driven import DrivenTarget
from hicache_impl.sglang.loader import Loaded
from hicache_impl.sglang.observe import slots_of
from hicache_impl.sglang.releases import Range
from hicache_impl.sglang.unified.build import PYTHON_CORE, RUST_CORE, build
from hicache_impl.sglang.unified.calls import Calls
from hicache_impl.sglang.unified.observe import UnifiedObserver
from hicache_impl.sglang.unified.observe_component import ComponentObserver, RustComponentObserver
from hicache_impl.sglang.unified.request import TreeKv
from hicache_impl.sglang.unified.requests import Scheduler
from hicache_impl.sglang.unified.rust import NOT_SHOWN, RustCalls, RustObserver, refuse_unloadable
from hicache_impl.sglang.unified.steps import Steps
from hicache_impl.target import Description
from hicache_model import operations as op
from hicache_model.configuration import Configuration
from hicache_model.fingerprint import fingerprints
from hicache_model.outcomes import (
    Done,
    Evicted,
    Inserted,
    LoadedBack,
    Matched,
    OutOfMemory,
)
from hicache_model.snapshot import Boundary

#: How each core is called and looked into, and what it does not show.
BY_CORE: dict[str, tuple[type[Calls], type[UnifiedObserver]]] = {
    PYTHON_CORE: (Calls, UnifiedObserver),
    RUST_CORE: (RustCalls, RustObserver),
}
UNOBSERVED: dict[str, tuple[str, ...]] = {PYTHON_CORE: (), RUST_CORE: NOT_SHOWN}

#: Where each component can be run.
COMPONENTS_OF = {
    "full": Range(),
    "swa": Range(since="0.5.21"),
    "mamba": Range(since="0.5.22"),
}
WITH_COMPONENT: dict[str, type[UnifiedObserver]] = {
    PYTHON_CORE: ComponentObserver,
    RUST_CORE: RustComponentObserver,
}

#: How EvictParams and EvictResult name the tokens, or the states, of a component.
COUNT_OF = {"full": "num_tokens", "swa": "swa_num_tokens", "mamba": "mamba_num"}

#: What traces and reports call them.
NAMES = {PYTHON_CORE: "sglang-unified", RUST_CORE: "sglang-unified-rust"}


class UnifiedTarget(DrivenTarget):
    """Implements hicache_impl.target.Target. ``trusting=False`` observes everything afresh."""

    def __init__(
        self,
        parts: Parts,
        configuration: Configuration,
        trusting: bool = True,
        core: str = PYTHON_CORE,
    ) -> None:
        make_calls, make_observer = BY_CORE[core]
        if parts.component is not None:
            make_observer = WITH_COMPONENT[core]
        super().__init__(parts, configuration, trusting, make_calls(parts))
        scheduler = Scheduler(self._calls, self._device_kv, self._forward)
        self._observer = make_observer(
            self._calls,
            self._device_kv,
            scheduler.running,
            self._locks,
            self._host_locks,
            retracted=scheduler.retracted,
        )
        alone = parts.component is None  # what the steps of a component hand over is not known here
        self._steps = Steps(self._calls.tree, self.observe) if alone else None
        self._perform = self._operations(scheduler) | {
            op.Touch: scheduler.touch,
            op.RetractToHost: scheduler.retract_to_host,
            op.ResumeRequest: scheduler.resume,
            op.StartWrites: self._start_writes,
        }

    def own_check(self) -> tuple[str, ...]:
        """``sanity_check`` of the cache, which prints its tree where it fails."""
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                self._cache.sanity_check()
        except AssertionError as error:
            _, *found = str(error).splitlines()
            return tuple(line.strip() for line in found) or (str(error),)
        return ()

    def keep_up(self) -> None:
        """Look at what the last operation made, for a driver that does not observe in between.

        Otherwise the Rust core's nodes have no names by which an operation could unlock them.
        """
        self._calls.keep_up()

    def watch_steps(self, seen: list[Boundary] | None) -> None:
        if self._steps is not None:
            self._steps.watch(seen)

    # -- lookup and contents

    def _match(self, o: op.Match) -> Matched:
        matched = self._calls.match(o.tokens, o.namespace)
        slots = slots_of(self._calls.matched_slots(matched))
        device = self._calls.ways.matched_length(matched)
        beside = getattr(matched, f"{self.configuration.component}_host_hit_length", 0)
        return Matched(device, matched.host_hit_length, slots, beside)

    def _insert(self, o: op.Insert) -> Inserted | OutOfMemory:
        """The end of a request: its KV is in fresh slots, the cache takes what it does not have.

        The cache itself frees what it has already. ``chunked`` says that the request counted its
        hits before.
        """
        calls = self._calls
        count = calls.length_in_pages(len(o.tokens))
        if count == 0:
            return Inserted(0)
        fresh, state = calls.fresh_slots(count), calls.fresh_state()
        if fresh is None or state is None:
            return OutOfMemory(count)
        tokens = o.tokens[: count + self.configuration.bigram]
        values = fingerprints(o.namespace, o.tokens[:count])
        self._device_kv.write(fresh, values)
        calls.write_component(fresh, values)
        for slot in state.values():
            calls.write_state(slot, values[-1])
        params = calls.base.InsertParams(
            key=calls.key(tokens, o.namespace),
            value=fresh,
            priority=o.priority,
            **calls.ways.insert_counts(count, o.chunked),
            **state,
        )
        inserted = self._cache.insert(params)
        calls.keep_state(state, inserted)
        return Inserted(inserted.prefix_len)

    # -- transfers

    def _load_back(self, o: op.LoadBack) -> LoadedBack:
        matched = self._calls.match(o.tokens, o.namespace)
        request = self._calls.ways.request
        tokens, none = self._calls.ids(o.tokens), self._calls.ids(())
        req = request("load back", tokens, none, self._calls.namespace(o.namespace), 0)
        if not self._calls.lacks_on_device(req, matched):
            return LoadedBack(0)
        req.kv = TreeKv()
        req.last_node = matched.last_device_node
        loaded, _ = self._calls.load_back(matched, o.quota, req)
        return LoadedBack(loaded)

    def _start_writes(self, o: op.StartWrites) -> Done:
        self._cache.flush_pending_backups()
        return Done()

    # -- eviction

    def _evict_device(self, o: op.EvictDevice) -> Evicted:
        asked = {COUNT_OF[o.component]: o.count}
        result = self._cache.evict(self._calls.base.EvictParams(**asked))
        beside = COUNT_OF[self.configuration.component]
        of_component = 0 if beside == "num_tokens" else getattr(result, f"{beside}_evicted")
        return Evicted(result.num_tokens_evicted, of_component)

    def _evict_host(self, o: op.EvictHost) -> Done:
        component = self.parts.component
        if o.component == "full" or component is None:
            return super()._evict_host(o)
        self._cache.evict_host(o.count, component.kind)
        return Done()


@attrs.define(frozen=True, slots=True)
class UnifiedFactory:
    """Makes UnifiedTargets, with one core, of the one release that is loaded in this process."""

    loaded: Loaded
    core: str = PYTHON_CORE
    trusting: bool = True
    description: Description = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        if self.core == RUST_CORE:
            refuse_unloadable(self.loaded)

    @description.default
    def _describe(self) -> Description:
        version = self.loaded.version
        return Description(
            target=NAMES[self.core],
            release=version,
            origin=self.loaded.located.told_by,
            eviction_policies=releases.eviction_policies(version, releases.UNIFIED),
            host_may_be_smaller=releases.host_may_be_smaller(version),
            strips_thinking=version in releases.STRIPS_THINKING,
            cache=self.loaded.cache,
            bigram=True,
            unobserved=UNOBSERVED[self.core],
            components=tuple(name for name, where in COMPONENTS_OF.items() if version in where),
        )

    def build(self, configuration: Configuration) -> UnifiedTarget:
        """A fresh cache; RefusedSize (a ValueError) for sizes that the release refuses."""
        parts = build(self.loaded, cast(Any, configuration), self.core)
        return UnifiedTarget(parts, configuration, self.trusting, self.core)
