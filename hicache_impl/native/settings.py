"""What a cache of our own is built with. Every mistake is one line that says what to do."""

from __future__ import annotations

from math import prod
from typing import Any, TypeAlias

import attrs
import torch

from hicache_impl.native.transfer import usable_device
from hicache_model.configuration import EVICTION_POLICIES, WRITE_POLICIES
from hicache_model.policies import Policy, named

WORD = 8
"""Bytes of a fingerprint: a row is a whole number of them."""

COPIES = ("early", "late")

PolicyName: TypeAlias = "str | Policy"


@attrs.frozen(kw_only=True)
class Settings:
    """Pools are counted in tokens. Raises ValueError for what no cache can be built from.

    ``row_shape`` and ``dtype`` describe the K (and the V) of one token in one layer; the defaults
    hold one fingerprint and nothing else. ``eviction_policy`` is a name or your own function of a
    node's counters. ``copies`` says when the bytes of a transfer move on a CPU: ``early``, when it
    is issued, or ``late``, when it completes; on a GPU they move when the stream gets there, after
    ``copy_delay`` clock cycles. With ``strip_thinking`` a request leaves nothing of what it decodes
    to the cache. With ``bigram`` KV is found by pairs of neighbouring tokens, as a draft model
    needs it: that of the last token stays its owner's.
    """

    device_slots: int
    host_slots: int
    page_size: int = 1
    layers: int = 1
    row_shape: tuple[int, ...] = (1,)
    dtype: Any = torch.int64
    device: str = "cpu"
    write_policy: str = "write_through"
    eviction_policy: PolicyName = "lru"
    write_through_threshold: int | None = None
    load_back_threshold: int = 1
    copies: str = "early"
    copy_delay: int = 0
    strip_thinking: bool = False
    bigram: bool = False

    def __attrs_post_init__(self) -> None:
        _check_page_size(self.page_size)
        for name in ("device_slots", "host_slots"):
            _check_pool(name, getattr(self, name), self.page_size)
        _check_row(self)
        _check_choice("write policy", self.write_policy, WRITE_POLICIES)
        _check_choice("copies", self.copies, COPIES)
        if not callable(self.eviction_policy):
            hint = "; your own policy is a function of a node"
            _check_choice("eviction policy", self.eviction_policy, EVICTION_POLICIES, hint)
        usable_device(self.device)

    @property
    def policy(self) -> Policy:
        chosen = self.eviction_policy
        return named(chosen, self.page_size) if isinstance(chosen, str) else chosen

    @property
    def hits_before_backup(self) -> int:
        """1 for write_through, 2 for write_through_selective, unless a threshold is given."""
        usual = 2 if self.write_policy == "write_through_selective" else 1
        return self.write_through_threshold or usual


def _check_page_size(page_size: int) -> None:
    if page_size < 1:
        raise ValueError(f"page_size is {page_size}; a page holds at least one token, so use 1")


def _check_pool(name: str, size: int, page_size: int) -> None:
    if size < page_size:
        raise ValueError(
            f"{name} is {size}, too few for one page of {page_size}; use at least {page_size}"
        )
    if size % page_size:
        raise ValueError(
            f"{name} is {size}, not a multiple of page_size {page_size}; "
            f"use {size // page_size * page_size}"
        )


def _check_row(settings: Settings) -> None:
    if settings.layers < 1:
        raise ValueError(f"layers is {settings.layers}; a model has at least one")
    size = prod(settings.row_shape) * settings.dtype.itemsize
    if size < WORD or size % WORD:
        raise ValueError(
            f"a row of {settings.row_shape} {settings.dtype} takes {size} bytes; "
            f"use a shape that takes a multiple of {WORD}"
        )


def _check_choice(what: str, name: object, known: tuple[str, ...], hint: str = "") -> None:
    if name not in known:
        raise ValueError(f"unknown {what} {name!r:.60}; known are {', '.join(known)}{hint}")
