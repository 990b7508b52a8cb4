"""A toy serving loop: prefixes that are shared, eviction to the host, loads back layer by layer.

The "model" has a sum for a KV, so that whoever reads a wrong row answers wrongly.
"""

from __future__ import annotations

from typing import Any

import torch

from hicache_impl.native import HierarchicalCache, Settings, index_of

LAYERS = 2
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
SETTINGS = Settings(
    device_slots=48,
    host_slots=256,
    layers=LAYERS,
    write_policy="write_back",
    device=DEVICE,
    copies="late",  # on a CPU: bytes move when somebody waits, so that forgetting to shows
)


def kv(tokens: tuple[int, ...], layer: int) -> Any:
    """A row for each token, made of all tokens up to it."""
    return torch.tensor(tokens, device=DEVICE).cumsum(0).view(-1, 1) * (layer + 1)


def serve(cache: HierarchicalCache, prompt: tuple[int, ...]) -> tuple[int, int, int]:
    """The answer, and how many tokens were found on the device and on the host."""
    found = cache.match(prompt[:-1])  # the last token is always computed
    cached = found.slots + cache.load_back(found.node) if found.host_length else found.slots
    loads = cache.start_loads()
    anchor = found.node if len(cached) > len(found.slots) else found.device_node
    cache.lock(anchor)  # or what we read may be evicted
    due = len(prompt) - len(cached)
    cache.evict_device(max(0, due - cache.available_size))
    fresh = cache.allocate(due)
    if fresh is None:
        raise MemoryError(f"no room for {due} tokens beside those that are locked")
    slots, answer = cached + fresh, 0
    for layer in range(LAYERS):
        if loads is not None:
            loads.wait_layer(layer)  # the layers above are still on their way
        rows = cache.device_kv.k[layer]
        rows[index_of(fresh)] = kv(prompt, layer)[len(cached) :]  # prefill
        answer += int(rows[index_of(slots)].sum())  # attention reads everything
    cache.insert(prompt, slots)
    cache.unlock(anchor)
    cache.poll()  # what was loaded may be evicted again
    return answer, len(found.slots), len(cached) - len(found.slots)


def main() -> None:
    cache = HierarchicalCache(SETTINGS)
    system = tuple(range(100, 116))
    prompts = {user: (*system, user) for user in range(4)}
    for turn in range(3):
        for user, prompt in prompts.items():
            answer, device, host = serve(cache, prompt)
            right = answer == sum(int(kv(prompt, layer).sum()) for layer in range(LAYERS))
            print(
                f"turn {turn}, user {user}: {device:2} tokens from the device, {host:2} from the "
                f"host, {len(prompt) - device - host:2} computed; {'right' if right else 'WRONG'}"
            )
            prompts[user] = (*prompt, *range(user, user + 8))


if __name__ == "__main__":
    main()
