"""The KV of one tier: for each layer a buffer of K and one of V, one row a slot.

A row can carry the fingerprint of the prefix that it belongs to: K of layer l holds it times
2l + 1 in every word of eight bytes, V the negative. What lies in a slot then says whose it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import torch

from hicache_impl.native.pools import slots_of

MIXED = -1
"""The content of a slot whose buffers do not hold one fingerprint."""

FEW = 64
"""Up to this many rows of one word are compared as Python's integers: faster than to ask torch."""


class KVBuffers:
    """``k[l]`` and ``v[l]`` are views of shape (rows, *row_shape) into one block of memory.

    ``kv[l]`` are the words of both, of shape (2, rows, words of a row).
    """

    def __init__(
        self,
        rows: int,
        layers: int,
        row_shape: tuple[int, ...],
        dtype: Any,
        device: str,
        pinned: bool = False,
    ) -> None:
        block = torch.zeros(
            (layers, 2, rows, *row_shape), dtype=dtype, device=device, pin_memory=pinned
        )
        self.k = [block[number, 0] for number in range(layers)]
        self.v = [block[number, 1] for number in range(layers)]
        self.layers = layers
        width = prod(row_shape) * block.element_size() // 8
        self.words = block.view(layers, 2, rows, -1).view(torch.int64).view(2 * layers, rows, width)
        self.kv = [self.words[2 * number : 2 * number + 2] for number in range(layers)]
        self._factors = _factors(layers)
        self._numbers = [sign * (2 * layer + 1) for layer in range(layers) for sign in (1, -1)]
        self._moving = self.words.is_cuda or pinned
        self._narrow = width == 1
        self._plain = layers == width == 1

    @property
    def version(self) -> int:
        """Grows with every write that was issued."""
        return int(self.words._version)

    def stamp(self, slots: Sequence[int], fingerprints: Sequence[int]) -> None:
        """Write the fingerprints into all layers of ``slots``, as a forward pass would its KV."""
        values = torch.tensor(fingerprints, dtype=torch.int64).view(1, -1, 1) * self._factors
        rows = values.expand(-1, -1, self.words.size(2)).to(self.words.device)
        self.words.index_copy_(1, self._index(slots), rows)

    def contents(self) -> list[int]:
        """The fingerprint in every slot, MIXED where its rows do not agree on one."""
        return self._decode(self._still(self.words))

    def contents_of(self, slots: Sequence[int]) -> list[int]:
        return self._decode(self._still(self.words.index_select(1, self._index(slots))))

    def read(self, slots: Sequence[int], wait_layer: Callable[[int], None]) -> list[int]:
        """As ``contents_of``, by layers; ``wait_layer`` is called before each is read."""
        index, layers = self._index(slots), []
        for number, words in enumerate(self.kv):
            wait_layer(number)
            layers.append(words.index_select(1, index))
        return self._decode(self._still(torch.cat(layers)))

    def _index(self, slots: Sequence[int]) -> Any:
        return index_of(slots).to(self.words.device)

    def _still(self, words: Any) -> Any:
        """On the CPU, and where a copy may be running beside us, as they are now."""
        return words.to("cpu", copy=True) if self._moving else words

    def _decode(self, words: Any) -> list[int]:
        if self._narrow and words.size(1) <= FEW:
            rows = words.flatten(1).tolist()
            numbers: list[int] = rows[0]
            if rows == [[factor * number for number in numbers] for factor in self._numbers]:
                return numbers
        first = words[:1, :, :1]
        content: list[int] = first.flatten().tolist()
        due = first * self._factors
        if torch.equal(words, due if self._plain else due.expand_as(words)):
            return content
        agrees = (words == due).all(dim=2).all(dim=0).tolist()
        return [value if fine else MIXED for value, fine in zip(content, agrees, strict=True)]


def _factors(layers: int) -> Any:
    """Shape (2 · layers, 1, 1): 1, -1, 3, -3, 5, ..."""
    odd = torch.arange(layers, dtype=torch.int64) * 2 + 1
    return torch.stack((odd, -odd), dim=1).view(-1, 1, 1)


def index_of(slots: Sequence[int]) -> Any:
    """The slots as a tensor in main memory that picks rows, without a copy of an array."""
    numbers = slots_of(slots)
    return torch.frombuffer(numbers, dtype=torch.int64) if numbers else _NO_ROWS


_NO_ROWS = torch.empty(0, dtype=torch.int64)
