"""Our own cache as a target: operations to calls."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import attrs

from hicache_impl.native.cache import HierarchicalCache
from hicache_impl.native.observe import Held, Observer, path_of_any
from hicache_impl.native.parts import Kinds
from hicache_impl.native.requests import NoRoom, Scheduler
from hicache_impl.native.settings import Settings
from hicache_impl.native.transfer import usable_device
from hicache_impl.native.tree import TreeNode, last_on_host
from hicache_impl.target import Description
from hicache_model import operations as op
from hicache_model.configuration import EVICTION_POLICIES, Configuration
from hicache_model.fingerprint import fingerprints
from hicache_model.keys import keys_of
from hicache_model.outcomes import (
    Admitted,
    Done,
    Evicted,
    Inserted,
    LoadedBack,
    LoadsStarted,
    Matched,
    Outcome,
    OutOfMemory,
)
from hicache_model.policies import named
from hicache_model.snapshot import Path, Snapshot

RULES = "0.5.18"
"""The SGLang release whose rules the cache follows: the newest in which HiRadixCache serves."""

LATE_CYCLES = 200_000
"""How long a GPU's copy stream sleeps before each late transfer: about 0.1 ms."""

DONE = Done()


class NativeTarget:
    """Implements hicache_impl.target.Target. ``trusting=False`` observes everything afresh."""

    def __init__(
        self,
        cache: HierarchicalCache,
        configuration: Configuration,
        trusting: bool = True,
        scheduler: type[Scheduler] | None = None,
    ) -> None:
        self.configuration = configuration
        self.cache = cache
        self.scheduler = (scheduler or Scheduler)(cache)
        self._held = Held(self.scheduler.running)
        self._observer = Observer(cache, self._held)
        self._fresh = not trusting
        self._perform: dict[type[Any], Callable[[Any], Outcome]] = {
            op.Match: self._match,
            op.Insert: self._insert,
            op.EvictDevice: self._evict_device,
            op.EvictHost: self._evict_host,
            op.LoadBack: self._load_back,
            op.StartLoads: self._start_loads,
            op.Lock: self._lock,
            op.Unlock: self._unlock,
            op.LockHost: self._lock_host,
            op.UnlockHost: self._unlock_host,
            op.CompleteWrites: self._complete_writes,
            op.CompleteLoads: self._complete_loads,
            op.Reset: self._reset,
            op.BeginRequest: self._begin,
            op.ExtendRequest: self._extend,
            op.DecodeRequest: self._decode,
            op.FinishRequest: self._finish,
            op.RetractRequest: self._retract,
            op.AbortRequest: self._abort,
        }

    def perform(self, operation: op.Operation) -> Outcome:
        try:
            return self._perform[type(operation)](operation)
        except NoRoom as short:
            return OutOfMemory(short.needed)

    def observe(self, fresh: bool = False) -> Snapshot:
        """The complete state; ``fresh`` looks again at what seems unchanged."""
        return self._observer.observe(fresh or self._fresh)

    def observe_at(self, paths: Iterable[Path]) -> Snapshot:
        return self._observer.observe_at(paths)

    # -- lookup and contents

    def _match(self, o: op.Match) -> Matched:
        found = self.cache.match(o.tokens, o.namespace)
        return Matched(len(found.slots), found.host_length, tuple(found.slots))

    def _insert(self, o: op.Insert) -> Inserted | OutOfMemory:
        """The end of a request: its KV is in fresh slots, the cache takes what it does not have."""
        cache = self.cache
        count = cache.tree.length_in_pages(len(o.tokens))
        slots = cache.allocate(count)
        if slots is None:
            return OutOfMemory(count)
        cache.parts.device_kv.stamp(slots, fingerprints(o.namespace, o.tokens[:count]))
        already = cache.insert(o.tokens, slots, o.namespace, o.priority, o.chunked)
        cache.free(slots[:already])
        return Inserted(already)

    def _evict_device(self, o: op.EvictDevice) -> Evicted:
        return Evicted(self.cache.evict_device(o.count))

    def _evict_host(self, o: op.EvictHost) -> Done:
        self.cache.evict_host(o.count)
        return DONE

    def _reset(self, o: op.Reset) -> Done:
        self.cache.reset()
        return DONE

    # -- transfers

    def _load_back(self, o: op.LoadBack) -> LoadedBack:
        found = self.cache.match(o.tokens, o.namespace)
        if found.host_length == 0:
            return LoadedBack(0)
        return LoadedBack(len(self.cache.load_back(found.node, o.quota)))

    def _start_loads(self, o: op.StartLoads) -> LoadsStarted:
        return LoadsStarted(self.scheduler.start_loads())

    def _complete_writes(self, o: op.CompleteWrites) -> Done:
        self.cache.complete_writes(o.count)
        return DONE

    def _complete_loads(self, o: op.CompleteLoads) -> Done:
        self.cache.complete_loads(o.count)
        return DONE

    # -- locks

    def _lock(self, o: op.Lock) -> Done:
        node = self.cache.match(o.tokens, o.namespace).device_node
        if node is not self.cache.tree.root:
            self.cache.lock(node)
            self._held.locks.append(node)
        return DONE

    def _unlock(self, o: op.Unlock) -> Done:
        self.cache.unlock(self._take(self._held.locks, o, "lock"))
        return DONE

    def _lock_host(self, o: op.LockHost) -> Done:
        node = last_on_host(self.cache.match(o.tokens, o.namespace).node)
        if node is not self.cache.tree.root:
            self.cache.pin_host(node)
            self._held.pins.append(node)
        return DONE

    def _unlock_host(self, o: op.UnlockHost) -> Done:
        self.cache.unpin_host(self._take(self._held.pins, o, "pin"))
        return DONE

    def _take(self, held: list[TreeNode], o: op.Unlock | op.UnlockHost, what: str) -> TreeNode:
        """Remove and return a held node whose path is exactly what the operation names."""
        wanted = Path(o.namespace, keys_of(o.tokens, bigram=self.configuration.bigram))
        for index, node in enumerate(held):
            if path_of_any(node) == wanted:
                return held.pop(index)
        raise KeyError(f"no {what} is held on {wanted}")

    # -- requests

    def _begin(self, o: op.BeginRequest) -> Admitted:
        request = self.scheduler.begin(
            o.request, o.tokens, o.chunk, o.namespace, o.priority, o.outputs
        )
        return Admitted(request.found, request.loaded)

    def _extend(self, o: op.ExtendRequest) -> Done:
        self.scheduler.extend(o.request, o.chunk)
        return DONE

    def _decode(self, o: op.DecodeRequest) -> Done:
        self.scheduler.decode(o.request, o.token)
        return DONE

    def _finish(self, o: op.FinishRequest) -> Done:
        self.scheduler.finish(o.request)
        return DONE

    def _abort(self, o: op.AbortRequest) -> Done:
        self.scheduler.abort(o.request)
        return DONE

    def _retract(self, o: op.RetractRequest) -> Done:
        self.scheduler.retract(o.request)
        return DONE


@attrs.frozen
class NativeFactory:
    """Makes targets of our own cache. ValueError for a device that torch does not have here.

    ``kinds`` puts the cache together from other classes; ``cache`` and ``scheduler`` may be others
    too. Where that plants a bug, ``bug`` is its name. ``own_policies`` are names of eviction
    policies that were added to those of ``hicache_model.policies``.
    """

    device: str = attrs.field(default="cpu")
    kinds: Kinds = attrs.field(factory=Kinds)
    trusting: bool = True
    cache: type[HierarchicalCache] = HierarchicalCache
    scheduler: type[Scheduler] = Scheduler
    bug: str | None = None
    own_policies: tuple[str, ...] = ()
    description: Description = attrs.field(init=False)

    @device.validator
    def _check(self, _: Any, device: str) -> None:
        usable_device(device)

    @description.default
    def _describe(self) -> Description:
        where = self.device if self.bug is None else f"{self.device}, bug {self.bug}"
        return Description(
            target="native",
            release=RULES,
            origin=f"hicache_impl.native on {where}; follows the rules of SGLang {RULES}",
            eviction_policies=(*EVICTION_POLICIES, *self.own_policies),
            bug=self.bug,
            strips_thinking=True,
            bigram=True,
        )

    def build(self, configuration: Configuration) -> NativeTarget:
        """A fresh cache; its KV rows hold a fingerprint and nothing else."""
        cache = self.cache(settings_for(configuration, self.device), self.kinds)
        return NativeTarget(cache, configuration, self.trusting, self.scheduler)


def settings_for(configuration: Configuration, device: str) -> Settings:
    """The settings that a configuration asks for; the io backends are one and the same here."""
    return Settings(
        device_slots=configuration.device_slots,
        host_slots=configuration.host_slots,
        page_size=configuration.page_size,
        layers=configuration.layers,
        device=device,
        write_policy=configuration.write_policy,
        eviction_policy=named(configuration.eviction_policy, configuration.page_size),
        load_back_threshold=configuration.load_back_threshold,
        copies=configuration.copies,
        copy_delay=LATE_CYCLES if configuration.copies == "late" else 0,
        strip_thinking=configuration.strip_thinking,
        bigram=configuration.bigram,
    )
