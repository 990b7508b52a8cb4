"""The menu: which operations are legal now, and their arguments, weighted towards collisions.

Every source of operations draws from it, by nothing but small integers from a ``Chooser``; so
random numbers, Hypothesis and a file can drive the same menu. Simpler choices have smaller numbers.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from random import Random
from types import MappingProxyType
from typing import Any, Protocol, TypeVar

from hicache_model import operations as ops
from hicache_model import rules
from hicache_model.keys import tokens_of
from hicache_model.reference import STARTED_LOADS, Reference
from hicache_model.snapshot import Path

T = TypeVar("T")

ALPHABET = (1, 2, 3)
NAMESPACES = (None, None, None, None, None, "a", "#a", "a#a")
"""What follows ``#`` is a salt: two pairs that only a salt keeps apart, one with the same text."""

MOST_PAGES = 6
TRIES = 16


class Chooser(Protocol):
    """Where choices come from: ``index(n)`` is an integer from 0 to n - 1."""

    def index(self, n: int) -> int: ...


class RandomChooser:
    """Choices of a seeded generator."""

    def __init__(self, random: Random) -> None:
        self._random = random.random

    def index(self, n: int) -> int:
        return int(self._random() * n)


class ListedChooser:
    """Choices from a list of integers, zeros when it is used up; shrinking the list simplifies."""

    def __init__(self, choices: Sequence[int]) -> None:
        self._choices = iter(choices)

    def index(self, n: int) -> int:
        return next(self._choices, 0) % n


WEIGHTS: dict[type[Any], int] = {
    ops.Match: 6,
    ops.Touch: 6,
    ops.Insert: 16,
    ops.EvictDevice: 12,
    ops.EvictHost: 6,
    ops.LoadBack: 10,
    ops.StartLoads: 8,
    ops.Lock: 3,
    ops.Unlock: 4,
    ops.LockHost: 4,
    ops.UnlockHost: 4,
    ops.StartWrites: 10,
    ops.CompleteWrites: 12,
    ops.CompleteLoads: 6,
    ops.Reset: 8,
    ops.BeginRequest: 14,
    ops.ExtendRequest: 10,
    ops.DecodeRequest: 8,
    ops.FinishRequest: 6,
    ops.RetractRequest: 4,
    ops.RetractToHost: 6,
    ops.ResumeRequest: 8,
    ops.AbortRequest: 4,
}


class Menu:
    """What can be done to one model now. ``kinds`` limits it to some operations.

    ``emphasis`` replaces some of the weights.
    """

    def __init__(
        self,
        model: Reference,
        kinds: Sequence[type[Any]] = ops.OPERATIONS,
        emphasis: Mapping[type[Any], int] = MappingProxyType({}),
    ) -> None:
        self.model = model
        self.kinds = tuple(kind for kind in kinds if _exists(model, kind))
        weights = {**WEIGHTS, **emphasis}
        self._totals = list(accumulate(weights[kind] for kind in self.kinds))

    def offers(self, kind: type[Any]) -> bool:
        """Whether this kind makes sense now; drawing its arguments may still fail."""
        test = _OFFERS.get(kind)
        return test is None or test(self.model)

    def draw(self, chooser: Chooser) -> ops.Operation | None:
        """A legal operation of any kind, or None when many tries found none.

        A kind is drawn by weight and drawn again when it makes no sense now: most do, and asking
        all of them each time would cost more than the operation itself.
        """
        for _ in range(TRIES):
            kind = self.kinds[bisect(self._totals, chooser.index(self._totals[-1]))]
            if self.offers(kind):
                operation = self.draw_of(kind, chooser)
                if operation is not None:
                    return operation
        return None

    def draw_of(self, kind: type[Any], chooser: Chooser) -> ops.Operation | None:
        """A legal operation of one kind, or None when the choices give none."""
        operation: ops.Operation | None = _DRAW[kind](self.model, chooser)
        if operation is None or rules.refusal(self.model, operation) is not None:
            return None
        return operation


def _exists(model: Reference, kind: type[Any]) -> bool:
    """Whether the model's cache knows this kind of operation at all."""
    if kind is ops.StartWrites:
        return model.dialect.writes_start == "queued"
    if kind is ops.Touch:
        return rules.touches(model)
    if kind in (ops.RetractToHost, ops.ResumeRequest):
        return rules.saves_retracted(model)
    return kind is not ops.LockHost or model.dialect.host_pins == "counted"


def _pick(chooser: Chooser, options: Sequence[T]) -> T:
    return options[chooser.index(len(options))]


# -- tokens ----------------------------------------------------------------------------------------


def _page(model: Reference, chooser: Chooser) -> tuple[int, ...]:
    """One page of tokens: a repeated letter, sometimes with another last token."""
    letter = _pick(chooser, ALPHABET)
    if model.page_size == 1:
        return (letter,)
    last = _pick(chooser, ALPHABET) if chooser.index(5) == 4 else letter
    return (letter,) * (model.page_size - 1) + (last,)


def _pages(model: Reference, chooser: Chooser, most: int) -> tuple[int, ...]:
    tokens: tuple[int, ...] = ()
    for _ in range(1 + chooser.index(most)):
        tokens += _page(model, chooser)
    return tokens


def _known_path(model: Reference, chooser: Chooser) -> Path | None:
    paths = model.tree.by_path
    return _spelled(model, _pick(chooser, list(paths))) if paths else None


def _spelled(model: Reference, path: Path) -> Path:
    """In tokens, as operations name a path: where keys are pairs, one more than it has keys."""
    return Path(path.namespace, tokens_of(path.tokens)) if model.tree.bigram else path


def _first_pages(model: Reference, chooser: Chooser, tokens: tuple[int, ...]) -> tuple[int, ...]:
    """Cut somewhere, at a page."""
    page, unpaired = model.page_size, model.tree.unpaired
    pages = (len(tokens) - unpaired) // page
    return tokens[: (1 + chooser.index(pages)) * page + unpaired]


def _paired_anew(model: Reference, chooser: Chooser, tokens: tuple[int, ...]) -> tuple[int, ...]:
    """Where keys are pairs, mostly one token more for the last; or another one at the end."""
    if not model.tree.bigram or chooser.index(4) == 3:
        return tokens
    kept = tokens if chooser.index(2) else tokens[:-1]
    return (*kept, _pick(chooser, ALPHABET))


def _prefix(model: Reference, chooser: Chooser) -> Path:
    """A prefix that collides with what is cached: equal, longer, shorter, forked, or fresh."""
    known = _known_path(model, chooser)
    shape = chooser.index(10)
    if known is None or shape == 0:
        namespace = _pick(chooser, NAMESPACES)
        return Path(namespace, _paired_anew(model, chooser, _pages(model, chooser, MOST_PAGES)))
    tokens = known.tokens
    if shape >= 7:
        tokens = _first_pages(model, chooser, tokens)
    if shape in (4, 5, 6, 9):  # and go on
        tokens += _pages(model, chooser, 3)
    if shape == 3:
        tokens = _paired_anew(model, chooser, tokens)
    most = MOST_PAGES * 2 * model.page_size + model.tree.unpaired
    return Path(known.namespace, tokens[:most])


def _ragged(model: Reference, chooser: Chooser, tokens: tuple[int, ...]) -> tuple[int, ...]:
    """Sometimes part of a page more, which callers must cut off; now and then nothing else."""
    if model.page_size > 1 and chooser.index(4) == 3:
        part = (_pick(chooser, ALPHABET),) * (1 + chooser.index(model.page_size - 1))
        return part if chooser.index(8) == 7 else tokens + part
    return tokens


def _count(model: Reference, chooser: Chooser, most: int) -> int:
    """A number of tokens: few, a leaf's worth, or more than there are."""
    shape = chooser.index(8)
    if shape < 5:
        return 1 + chooser.index(4 * model.page_size)
    if shape < 7:
        return 1 + chooser.index(most)
    return most + chooser.index(3)


# -- operations ------------------------------------------------------------------------------------


def _without_host_copy(model: Reference, chooser: Chooser) -> Path | None:
    """What one more use may back up."""
    paths = [node.path for node in model.tree.by_path.values() if not node.on_host]
    return _pick(chooser, paths) if paths else None


def _match(model: Reference, chooser: Chooser) -> ops.Operation:
    path = _prefix(model, chooser)
    return ops.Match(_ragged(model, chooser, path.tokens), path.namespace)


def _touch(model: Reference, chooser: Chooser) -> ops.Operation:
    """The prompt of a request that may begin soon."""
    path = _prompt(model, chooser)
    return ops.Touch(_ragged(model, chooser, path.tokens), path.namespace)


def _insert(model: Reference, chooser: Chooser) -> ops.Operation:
    path = _prefix(model, chooser)
    if not model.write_back and chooser.index(2):
        other = _without_host_copy(model, chooser)
        path = path if other is None else _spelled(model, other)
    room = model.allocatable() // (1 + chooser.index(2))  # half of it leaves some for a second use
    tokens = path.tokens[: max(model.page_size, room) + model.tree.unpaired]
    priority = chooser.index(4) if chooser.index(4) == 3 else 0
    tokens = _ragged(model, chooser, tokens)
    return ops.Insert(tokens, path.namespace, priority, chunked=chooser.index(8) == 7)


def _evict_device(model: Reference, chooser: Chooser) -> ops.Operation:
    pools = model.configuration
    if pools.component != "full" and chooser.index(2):
        return ops.EvictDevice(_count(model, chooser, pools.component_slots), pools.component)
    return ops.EvictDevice(_count(model, chooser, pools.device_slots))


def _evict_host(model: Reference, chooser: Chooser) -> ops.Operation:
    pools = model.configuration
    if pools.component != "full" and chooser.index(2):
        return ops.EvictHost(_count(model, chooser, pools.component_host_slots), pools.component)
    return ops.EvictHost(_count(model, chooser, pools.host_slots))


def _what_does_not_fit(model: Reference, evicted: Sequence[Path]) -> list[Path]:
    """Those of ``evicted`` for which evicting all that can be makes too little room."""
    evictable, _ = model.sizes()
    if not evictable:
        return []
    room = model.device_free() + evictable
    peek = model.tree.peek
    return [path for path in evicted if rules.cached_lengths(peek(path))[1] > room]


def _load_back(model: Reference, chooser: Chooser) -> ops.Operation | None:
    evicted = [node.path for node in model.tree.by_path.values() if not node.on_device]
    if not evicted:
        return None
    if chooser.index(2):
        evicted = _what_does_not_fit(model, evicted) or evicted
    path = _spelled(model, _pick(chooser, evicted))
    tokens = path.tokens
    if chooser.index(4) == 3:
        tokens = _first_pages(model, chooser, tokens)
    quota = chooser.index(1 + len(tokens)) if chooser.index(6) == 5 else None
    return ops.LoadBack(tokens, path.namespace, quota)


def _lock(model: Reference, chooser: Chooser) -> ops.Operation:
    path = _prefix(model, chooser)
    return ops.Lock(path.tokens, path.namespace)


def _lock_host(model: Reference, chooser: Chooser) -> ops.Operation:
    path = _prefix(model, chooser)
    evicted = [node.path for node in model.tree.by_path.values() if not node.on_device]
    if evicted and chooser.index(2):
        path = _spelled(model, _pick(chooser, evicted))
    return ops.LockHost(path.tokens, path.namespace)


def _unlock(model: Reference, chooser: Chooser) -> ops.Operation | None:
    if not model.locks:
        return None
    path = _spelled(model, _pick(chooser, model.locks).path)
    return ops.Unlock(path.tokens, path.namespace)


def _unlock_host(model: Reference, chooser: Chooser) -> ops.Operation | None:
    if not model.host_locks:
        return None
    path = _spelled(model, _pick(chooser, model.pinned_nodes()).path)
    return ops.UnlockHost(path.tokens, path.namespace)


def _complete_writes(model: Reference, chooser: Chooser) -> ops.Operation | None:
    return ops.CompleteWrites(1 + chooser.index(len(model.writes))) if model.writes else None


def _complete_loads(model: Reference, chooser: Chooser) -> ops.Operation | None:
    started = len(model.started_loads)
    if not started:
        return None
    return ops.CompleteLoads(1 + chooser.index(started) * chooser.index(2))  # often only the oldest


def _reset(model: Reference, chooser: Chooser) -> ops.Operation | None:
    """Mostly of a cache with something on the host alone, as that is what a reset may forget."""
    if all(node.on_device for node in model.tree.by_path.values()) and chooser.index(4):
        return None
    return ops.Reset()


def _prompt(model: Reference, chooser: Chooser) -> Path:
    """A prompt that collides with the cache, or one that a running request computes already."""
    if model.requests and chooser.index(4) == 3:
        running = _pick(chooser, list(model.requests.values()))
        return Path(running.namespace, running.tokens)
    return _prefix(model, chooser)


def _begin_request(model: Reference, chooser: Chooser) -> ops.Operation | None:
    path = _prompt(model, chooser)
    tokens = _ragged(model, chooser, path.tokens)
    if chooser.index(2):
        tokens += (_pick(chooser, ALPHABET),)  # the last token is never taken from the cache
    chunk = len(tokens)
    if chooser.index(2) and len(tokens) > model.page_size:
        chunk = model.page_size * (1 + chooser.index(len(tokens) // model.page_size))
    if model.component.chunks_end_anywhere and chooser.index(2):
        chunk = model.page_size
    priority = chooser.index(4) if chooser.index(4) == 3 else 0
    outputs = _outputs(model, chooser, len(tokens))
    return ops.BeginRequest(model.free_number(), tokens, chunk, path.namespace, priority, outputs)


def _outputs(model: Reference, chooser: Chooser, length: int) -> int:
    """Where thoughts are stripped every other request was retracted while it thought."""
    if length < 2 or not model.configuration.strip_thinking or chooser.index(2) == 0:
        return 0
    return 1 + chooser.index(length - 1)


def _of_requests(wanted: Callable[[Any], bool]) -> Callable[[Reference, Chooser], int | None]:
    def pick(model: Reference, chooser: Chooser) -> int | None:
        numbers = [number for number, running in model.requests.items() if wanted(running)]
        return _pick(chooser, numbers) if numbers else None

    return pick


def _retracted(model: Reference, chooser: Chooser) -> int | None:
    return _pick(chooser, list(model.retracted)) if model.retracted else None


def _living(model: Reference, chooser: Chooser) -> int | None:
    """One that runs, or that waits on the host to go on."""
    numbers = [*model.requests, *model.retracted]
    return _pick(chooser, numbers) if numbers else None


_any_request = _of_requests(lambda running: True)
_prefilling = _of_requests(lambda running: running.prefilling)
_decoding = _of_requests(lambda running: not running.prefilling)


def _extend_request(model: Reference, chooser: Chooser) -> ops.Operation | None:
    number = _prefilling(model, chooser)
    if number is None:
        return None
    running = model.requests[number]
    left = running.prompt_length - running.computed
    chunk = left
    if chooser.index(2) and left > model.page_size:
        chunk = model.page_size * (1 + chooser.index(left // model.page_size))
    if model.component.chunks_end_anywhere and chooser.index(2):
        chunk = 1 + chooser.index(min(left, model.page_size + 1))  # leaves something for a third
    return ops.ExtendRequest(number, chunk)


def _decode_request(model: Reference, chooser: Chooser) -> ops.Operation | None:
    number = _decoding(model, chooser)
    if number is None:
        return None
    again = model.requests[number].tokens[-1]  # outputs meet pages of one letter
    return ops.DecodeRequest(number, _pick(chooser, (again, again, *ALPHABET)))


def _of_request(
    kind: Callable[[int], ops.Operation], pick: Callable[[Reference, Chooser], int | None]
) -> Callable[[Reference, Chooser], ops.Operation | None]:
    def draw(model: Reference, chooser: Chooser) -> ops.Operation | None:
        number = pick(model, chooser)
        return None if number is None else kind(number)

    return draw


_DRAW: dict[type[Any], Callable[[Reference, Chooser], ops.Operation | None]] = {
    ops.Match: _match,
    ops.Touch: _touch,
    ops.Insert: _insert,
    ops.EvictDevice: _evict_device,
    ops.EvictHost: _evict_host,
    ops.LoadBack: _load_back,
    ops.StartLoads: lambda model, chooser: ops.StartLoads(),
    ops.Lock: _lock,
    ops.Unlock: _unlock,
    ops.LockHost: _lock_host,
    ops.UnlockHost: _unlock_host,
    ops.StartWrites: lambda model, chooser: ops.StartWrites(),
    ops.CompleteWrites: _complete_writes,
    ops.CompleteLoads: _complete_loads,
    ops.Reset: _reset,
    ops.BeginRequest: _begin_request,
    ops.ExtendRequest: _extend_request,
    ops.DecodeRequest: _decode_request,
    ops.FinishRequest: _of_request(ops.FinishRequest, _decoding),
    ops.RetractRequest: _of_request(ops.RetractRequest, _any_request),
    ops.RetractToHost: _of_request(ops.RetractToHost, _decoding),
    ops.ResumeRequest: _of_request(ops.ResumeRequest, _retracted),
    ops.AbortRequest: _of_request(ops.AbortRequest, _living),
}


def _some_decode(model: Reference) -> bool:
    return any(not running.prefilling for running in model.requests.values())


_OFFERS: dict[type[Any], Callable[[Reference], bool]] = {
    ops.Insert: lambda model: model.allocatable() >= model.page_size,
    ops.EvictDevice: lambda model: bool(model.tree.by_path),
    ops.EvictHost: lambda model: model.host_free() < model.configuration.host_slots,
    ops.LoadBack: lambda model: model.host_free() < model.configuration.host_slots,
    ops.StartLoads: lambda model: (
        bool(model.queued_loads) and len(model.started_loads) < STARTED_LOADS
    ),
    ops.Lock: lambda model: bool(model.tree.by_path),
    ops.LockHost: lambda model: model.host_free() < model.configuration.host_slots,
    ops.Unlock: lambda model: bool(model.locks),
    ops.UnlockHost: lambda model: bool(model.host_locks),
    ops.StartWrites: lambda model: bool(model.queued_writes),
    ops.CompleteWrites: lambda model: bool(model.writes),
    ops.CompleteLoads: lambda model: bool(model.started_loads),
    ops.Reset: lambda model: (
        bool(model.tree.by_path)
        and not (
            model.requests
            or model.retracted
            or model.locks
            or model.host_locks
            or model.in_flight()
        )
    ),
    ops.BeginRequest: lambda model: len(model.requests) < model.configuration.requests,
    ops.ExtendRequest: lambda model: any(r.prefilling for r in model.requests.values()),
    ops.DecodeRequest: _some_decode,
    ops.FinishRequest: _some_decode,
    ops.RetractRequest: lambda model: bool(model.requests),
    ops.RetractToHost: _some_decode,
    ops.ResumeRequest: lambda model: bool(model.retracted),
    ops.AbortRequest: lambda model: bool(model.requests or model.retracted),
}
