"""Requests: what the scheduler does with the cache for one request, from its prompt to its end."""

from __future__ import annotations

from hicache_model import operations as ops
from hicache_model.components.facts import DECISION
from hicache_model.notes import NoRoom, Running
from hicache_model.outcomes import Admitted, Done, Outcome, OutOfMemory
from hicache_model.reference.loads import Loads
from hicache_model.snapshot import Path


class Requests(Loads):
    """A request matches and loads, computes chunk by chunk, and gives the tree what it computed."""

    def _op_begin_request(self, op: ops.BeginRequest) -> Outcome:
        found = self._find(self.tree.whole_pages(op.namespace, op.tokens[:-1]))
        self.component.begins(found.node)
        self.hold(found.on_device, DECISION)
        loaded = self._load_found(found)
        anchor = found.node if loaded else found.on_device
        self.hold(anchor, op.request)
        self.let_go(found.on_device, DECISION)
        self._op_start_loads()
        prefix = found.device + loaded
        running = Running(
            op.tokens,
            len(op.tokens),
            op.namespace,
            op.priority,
            computed=prefix,
            protected=prefix,
            anchor=anchor,
            number=op.request,
            branch=self.component.branch(found),
            outputs=op.outputs,
        )
        self.component.takes_row()
        self.requests[op.request] = running
        try:
            self._compute(running, min(op.chunk, len(op.tokens) - prefix))
        except NoRoom as short:
            return OutOfMemory(short.needed)
        return Admitted(found.device, loaded)

    def _op_extend_request(self, op: ops.ExtendRequest) -> Outcome:
        running = self.requests[op.request]
        self._cache_unfinished(running, chunked=True)
        self._op_start_loads()
        try:
            self._compute(running, min(op.chunk, running.prompt_length - running.computed))
        except NoRoom as short:
            return OutOfMemory(short.needed)
        return Done()

    def _op_decode_request(self, op: ops.DecodeRequest) -> Outcome:
        running = self.requests[op.request]
        self.component.decodes(running)
        try:
            self._allocate(running, 1, asks=self.page_size)
        except NoRoom as short:
            return OutOfMemory(short.needed)
        running.tokens += (op.token,)
        self.component.computes(running, running.computed - 1)
        self._start_writes()
        return Done()

    def _op_finish_request(self, op: ops.FinishRequest | ops.AbortRequest) -> Outcome:
        running = self.requests.pop(op.request)
        path = self._insert_running(running, running.inserted, self._left_by(running))
        if self.dialect.prompt_boundary == "split":
            self._insert_prompt(running, path)
        self.component.inserted_by(running, path)
        if self.dialect.finished_request == "matches_again":
            self._find(path)
        self._release(running)
        self._start_writes()
        return Done()

    def _op_abort_request(self, op: ops.AbortRequest) -> Outcome:
        if self.requests[op.request].prefilling:
            return self._op_retract_request(op)
        return self._op_finish_request(op)

    def _op_retract_request(self, op: ops.RetractRequest | ops.AbortRequest) -> Outcome:
        self._release(self.requests.pop(op.request))
        return Done()

    # -- a request's memory and its part of the tree -----------------------------------------------

    def _compute(self, running: Running, length: int) -> None:
        """A forward pass over ``length`` prompt tokens; a complete prompt goes to the tree."""
        paged = self.page_size if self.page_size > 1 else 0
        self._allocate(running, length, asks=length + paged)
        self.component.computes(running, running.computed - length)
        if not running.prefilling:
            self._cache_unfinished(running, chunked=False)
        self._start_writes()

    def _allocate(self, running: Running, length: int, *, asks: int) -> None:
        """Memory for ``length`` more tokens. Raises NoRoom when eviction frees too little."""
        free = self.device_free()
        short = self.allocatable() < asks
        if free < asks:
            whole = self.dialect.scheduler_evicts == "request"
            self.evict_device(asks if whole else asks - free)
        grown = self.pages(running.computed + length) - self.pages(running.computed)
        beside = self.component.make_free(asks)
        if short:
            self.wait_for_writes()
        if self.device_free() < grown or (beside is not None and beside < grown):
            raise NoRoom(length)
        running.computed += length

    def _cache_unfinished(self, running: Running, *, chunked: bool) -> None:
        """Insert what is computed, take the tree's copy of it, and move the lock to its end."""
        if not self.component.insert_length(running):
            self.component.inserts_nothing(running)
            return
        once = self.dialect.request_counts == "each_node_once"
        self.component.goes_on(running)
        counted = running.computed if chunked and not once else running.inserted
        path = self._insert_running(running, counted, running.computed)
        if once:
            running.inserted = len(path.tokens)
        if self.dialect.unfinished_request == "matches_again":
            node = self._find(path).on_device
        else:
            node = self.tree.by_path.get(path, self.tree.root)
        self._release(running)
        self.hold(node, running.number)
        running.anchor, running.protected = node, len(node.path.tokens)
        self.component.inserted_by(running, path)

    def _left_by(self, running: Running) -> int:
        """How much a request that ends leaves to the tree.

        What one that thought decoded is taken away (upstream's owned_kv_len), but for what the tree
        had before and keeps for it.
        """
        if self.configuration.strip_thinking:
            return max(running.asked_length, running.protected + self.tree.unpaired)
        return running.computed

    def _insert_running(self, running: Running, counted: int, most: int) -> Path:
        """Give the tree of what a request has computed at most so much, in whole pages; how far
        that goes.
        """
        length = self.component.insert_length(running)
        if length > most:
            length = self.component.shorter_insert(most)
        path = self.tree.whole_pages(running.namespace, running.tokens[:length])
        self._insert_path(path, running.priority, counted, running.freed, running.protected)
        if self.dialect.prompt_boundary == "split_each_time":
            self._insert_prompt(running, path)
        return path

    def _insert_prompt(self, running: Running, path: Path) -> None:
        """A node ends where the prompt ends, if ``path``, which was inserted, goes further."""
        if self.configuration.component == "full":
            tokens = running.tokens[: running.asked_length]
            prompt = self.tree.whole_pages(running.namespace, tokens)
            if 0 < len(prompt.tokens) < len(path.tokens):
                self._insert_path(prompt, running.priority + 1, len(prompt.tokens))

    def _release(self, running: Running) -> None:
        assert running.anchor is not None
        self.let_go(running.anchor, running.number)
