"""The copy kernels of ``sgl_kernel.kvcacheio``, as actions on the current stream.

Layout "layer_first": io backend "direct" hands over lists of buffers and reads the slots when it is
called; "kernel" hands over buffers, or tables of their addresses, and reads the slots when it runs.
A slot is one row of a buffer. Layout "page_first_direct", with "direct" only, keeps all layers of a
page together on the host: (page, layer, slot in the page, ...).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch

from hicache_impl.sglang.device import Copy, Device, Stream


def _issue(
    stream: Stream,
    pairs: Iterable[tuple[torch.Tensor, torch.Tensor]],
    source_slots: torch.Tensor,
    target_slots: torch.Tensor,
) -> None:
    pairs = tuple(pairs)

    def move() -> None:
        for source, target in pairs:
            target[target_slots] = source[source_slots]

    addresses = frozenset(buffer.data_ptr() for pair in pairs for buffer in pair)
    stream.issue(Copy(source_slots, target_slots, move, addresses))


def _rows(host: torch.Tensor, layer: int, page_size: int) -> torch.Tensor:
    """One layer of a page-first buffer, a row for each slot: a view of it.

    There is none where the slots of a page lie together and those of the next page a layer away.
    """
    if page_size != 1 and host.shape[1] != 1:
        raise ValueError(f"pages of {page_size} slots in {host.shape[1]} layers have no rows")
    return host[:, layer].view(-1, *host.shape[3:])


def kernels(device: Device) -> dict[str, Callable[..., None]]:
    """The functions by their names in ``sgl_kernel.kvcacheio``."""

    def direct(
        sources: Iterable[torch.Tensor],
        targets: Iterable[torch.Tensor],
        source_slots: torch.Tensor,
        target_slots: torch.Tensor,
    ) -> None:
        pairs = zip(sources, targets, strict=True)
        _issue(device.current_stream(), pairs, source_slots.clone(), target_slots.clone())

    def transfer_kv_direct(
        src_layers: list[torch.Tensor],
        dst_layers: list[torch.Tensor],
        src_indices: torch.Tensor,
        dst_indices: torch.Tensor,
        page_size: int,
    ) -> None:
        direct(src_layers, dst_layers, src_indices, dst_indices)

    def transfer_kv_per_layer(
        src_k: torch.Tensor,
        dst_k: torch.Tensor,
        src_v: torch.Tensor,
        dst_v: torch.Tensor,
        src_indices: torch.Tensor,
        dst_indices: torch.Tensor,
        **sizes: Any,
    ) -> None:
        pairs = ((src_k, dst_k), (src_v, dst_v))
        _issue(device.current_stream(), pairs, src_indices, dst_indices)

    def transfer_kv_all_layer(
        src_k_layers: torch.Tensor,
        dst_k_layers: torch.Tensor,
        src_v_layers: torch.Tensor,
        dst_v_layers: torch.Tensor,
        src_indices: torch.Tensor,
        dst_indices: torch.Tensor,
        **sizes: Any,
    ) -> None:
        stream = device.current_stream()
        sources = src_k_layers.tolist() + src_v_layers.tolist()
        targets = dst_k_layers.tolist() + dst_v_layers.tolist()
        pairs = zip(map(stream.buffer_at, sources), map(stream.buffer_at, targets), strict=True)
        _issue(stream, pairs, src_indices, dst_indices)

    def transfer_kv_per_layer_direct_pf_lf(
        src_ptrs: list[torch.Tensor],
        dst_ptrs: list[torch.Tensor],
        src_indices: torch.Tensor,
        dst_indices: torch.Tensor,
        layer_id: int,
        page_size: int,
    ) -> None:
        hosts = [_rows(host, layer_id, page_size) for host in src_ptrs]
        direct(hosts, dst_ptrs, src_indices, dst_indices)

    def transfer_kv_all_layer_direct_lf_pf(
        src_ptrs: list[torch.Tensor],
        dst_ptrs: list[torch.Tensor],
        src_indices: torch.Tensor,
        dst_indices: torch.Tensor,
        page_size: int,
    ) -> None:
        layers = len(src_ptrs) // len(dst_ptrs)
        hosts = [_rows(host, layer, page_size) for host in dst_ptrs for layer in range(layers)]
        direct(src_ptrs, hosts, src_indices, dst_indices)

    return {
        "transfer_kv_direct": transfer_kv_direct,
        "transfer_kv_per_layer": transfer_kv_per_layer,
        "transfer_kv_all_layer": transfer_kv_all_layer,
        "transfer_kv_per_layer_direct_pf_lf": transfer_kv_per_layer_direct_pf_lf,
        "transfer_kv_all_layer_direct_lf_pf": transfer_kv_all_layer_direct_lf_pf,
    }
