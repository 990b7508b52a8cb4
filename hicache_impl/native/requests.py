"""What a scheduler does with requests: admit, compute, decode, and give the KV to the cache.

The forward pass is a function of yours: ``compute(request, start, slots)`` puts the KV of the
tokens from ``start`` on into ``slots``, and calls ``request.wait_layer`` before it reads a layer of
those before. The one that is used without yours reads and stamps fingerprints.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import attrs

from hicache_impl.native.cache import HierarchicalCache, Match
from hicache_impl.native.loading import Load
from hicache_impl.native.pools import Slots
from hicache_impl.native.tree import Tokens, TreeNode
from hicache_model.fingerprint import fingerprints


class NoRoom(MemoryError):
    """An allocation of ``needed`` tokens failed after eviction."""

    def __init__(self, needed: int) -> None:
        super().__init__(f"no room for {needed} tokens on the device")
        self.needed = needed


@attrs.define(slots=True, eq=False)
class Running:
    """A request. ``tokens`` is the prompt and what was decoded, ``row`` the slots of what is
    computed.

    The first ``protected`` slots are the cache's, kept by a lock on ``anchor``. Of the first
    ``prompt_length`` tokens it has decoded the last ``outputs`` itself, before it was retracted.
    When it was admitted, ``found`` tokens were on the device and ``loaded`` more came from the
    host. Its last forward pass waited for ``loading`` and found ``read`` in the row.
    """

    tokens: Tokens
    prompt_length: int
    namespace: str | None
    priority: int
    row: list[int]
    protected: int
    anchor: TreeNode
    found: int
    loaded: int
    outputs: int = 0
    loading: Load | None = None
    read: tuple[int, ...] = ()

    @property
    def computed(self) -> int:
        return len(self.row)

    @property
    def left(self) -> int:
        """Prompt tokens that are still to be computed."""
        return self.prompt_length - len(self.row)

    @property
    def asked_length(self) -> int:
        """Tokens of the prompt that its client sent."""
        return self.prompt_length - self.outputs

    def wait_layer(self, layer: int) -> None:
        """What is computed next sees this layer of everything in the row."""
        if self.loading is not None:
            self.loading.wait_layer(layer)


Compute: TypeAlias = Callable[[Running, int, Slots], None]


class Scheduler:
    """Requests by number. NoRoom comes out where the device is too small for what runs.

    ``loading`` is the load that the next forward pass waits for, and with it for those before.
    """

    def __init__(self, cache: HierarchicalCache, compute: Compute | None = None) -> None:
        self.cache = cache
        self.compute = compute or self._forward
        self.loading: Load | None = None
        self.running: dict[int, Running] = {}

    def begin(
        self,
        number: int,
        prompt: Tokens,
        chunk: int,
        namespace: str | None = None,
        priority: int = 0,
        outputs: int = 0,
    ) -> Running:
        """Admit a request: take and load back what is cached, and compute up to ``chunk`` tokens.

        The last token of a prompt is always computed. The load of what is loaded back is started.
        One that was retracted comes with its ``outputs`` at the end of its prompt.
        """
        cache = self.cache
        found = self._find(prompt[:-1], namespace)
        first = anchor = found.device_node
        cache.lock(first)
        loaded = cache.load_back(found.node) if found.host_length else ()
        if loaded:
            anchor = found.node
        cache.lock(anchor)
        cache.unlock(first)
        self.start_loads()
        row = [*found.slots, *loaded]
        request = Running(
            tokens=prompt,
            prompt_length=len(prompt),
            namespace=namespace,
            priority=priority,
            row=row,
            protected=len(row),
            anchor=anchor,
            found=len(found.slots),
            loaded=len(loaded),
            outputs=outputs,
        )
        self.running[number] = request
        self._prefill(request, chunk)
        return request

    def start_loads(self) -> bool:
        """Start the loads that are queued; whether there were any."""
        load = self.cache.start_loads()
        self.loading = load or self.loading
        return load is not None

    def extend(self, number: int, chunk: int) -> None:
        """Give what is computed to the cache, then compute up to ``chunk`` more prompt tokens."""
        request = self.running[number]
        self._cache_unfinished(request, chunked=True)
        self.start_loads()
        self._prefill(request, chunk)

    def decode(self, number: int, token: int) -> None:
        """Compute one token after the prompt."""
        request = self.running[number]
        slots = self._room(request, 1, self.cache.settings.page_size)
        request.tokens += (token,)
        self._compute(request, slots)

    def finish(self, number: int) -> None:
        """The request is done: its KV goes to the cache, the rest of its row is free."""
        request = self.running.pop(number)
        length = self._insert(request, self._left_by(request), chunked=False)
        self.cache.free(request.row[length:])
        self.cache.unlock(request.anchor)

    def retract(self, number: int) -> None:
        """The request gives its memory back, and nothing to the cache."""
        request = self.running.pop(number)
        self.cache.free(request.row[request.protected :])
        self.cache.unlock(request.anchor)

    def abort(self, number: int) -> None:
        """The client went away: as finish after the prompt, as retract before."""
        end = self.retract if self.running[number].left > 0 else self.finish
        end(number)

    # -- the steps ---------------------------------------------------------------------------------

    def _find(self, tokens: Tokens, namespace: str | None) -> Match:
        return self.cache.match(tokens, namespace)

    def _prefill(self, request: Running, chunk: int) -> None:
        """Compute prompt tokens; a whole prompt goes to the cache."""
        count = min(chunk, request.left)
        page_size = self.cache.settings.page_size
        slots = self._room(request, count, count + page_size if page_size > 1 else count)
        self._compute(request, slots)
        if request.left == 0:
            self._cache_unfinished(request, chunked=False)

    def _room(self, request: Running, count: int, asked: int) -> Slots:
        """Slots for ``count`` tokens; evicts what is missing of the ``asked`` ones."""
        missing = asked - self.cache.available_size
        if missing > 0:
            self.cache.evict_device(missing)
        slots = self.cache.extend(request.row, count)
        if slots is None:
            raise NoRoom(count)
        return slots

    def _compute(self, request: Running, slots: Slots) -> None:
        start = len(request.row)
        request.row.extend(slots)
        request.loading, self.loading = self.loading, None
        self.compute(request, start, slots)

    def _cache_unfinished(self, request: Running, *, chunked: bool) -> None:
        """Insert what is computed, take the cache's slots for it, and move the lock to its end."""
        length = self._insert(request, request.computed, chunked)
        found = self._find(request.tokens[: request.computed], request.namespace)
        request.row[:length] = found.slots
        self.cache.lock(found.node)
        self.cache.unlock(request.anchor)
        request.anchor, request.protected = found.node, length

    def _left_by(self, request: Running) -> int:
        """How much a request that ends leaves to the cache; never less than is the cache's."""
        if self.cache.settings.strip_thinking:
            return max(request.asked_length, request.protected + self.cache.tree.bigram)
        return request.computed

    def _insert(self, request: Running, most: int, chunked: bool) -> int:
        """Insert the whole pages of the first ``most`` tokens and free duplicates; returns their
        length.
        """
        tokens = request.tokens[:most]
        length = self.cache.tree.length_in_pages(len(tokens))
        already = self.cache.insert(
            tokens, request.row[:length], request.namespace, request.priority, chunked
        )
        self._free_duplicates(request, already)
        return length

    def _free_duplicates(self, request: Running, already: int) -> None:
        """Of what the cache had ``already``, the request's own slots go."""
        self.cache.free(request.row[request.protected : already])

    def _forward(self, request: Running, start: int, slots: Slots) -> None:
        """Reads every layer of what was computed before, and writes the new tokens' KV."""
        kv = self.cache.parts.device_kv
        request.read = tuple(kv.read(request.row[:start], request.wait_layer))
        values = fingerprints(request.namespace, request.tokens)[start : start + len(slots)]
        kv.stamp(slots, values)
