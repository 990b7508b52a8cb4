"""Small caches for tests, and short ways to use them."""

from __future__ import annotations

from typing import Any

from hicache_impl.native.cache import HierarchicalCache
from hicache_impl.native.settings import Settings
from hicache_impl.native.tree import TreeNode
from hicache_model.fingerprint import fingerprints

Tokens = tuple[int, ...]


class Small(HierarchicalCache):
    """``put`` computes and inserts, ``tokens_on`` names what a tier holds."""

    def put(self, *tokens: int, **options: Any) -> TreeNode:
        """The node at the end of ``tokens``, which are inserted with their KV."""
        slots = self.allocate(len(tokens))
        assert slots is not None, "the test has to make room"
        namespace = options.get("namespace")
        self.device_kv.stamp(slots, fingerprints(namespace, tokens))
        already = self.insert(tokens, slots, **options)
        self.free(slots[:already])
        return self.node(*tokens, namespace=namespace)

    def node(self, *tokens: int, namespace: str | None = None) -> TreeNode:
        """Found without a visit."""
        node, depth = self.tree.root, 0
        while depth < len(tokens):
            child = self.tree.child(node, namespace, tokens, depth)
            assert child is not None, f"nothing goes on at {tokens[depth:]}"
            node, depth = child, depth + len(child.key)
        return node

    def nodes(self) -> list[TreeNode]:
        return self.tree.subtree(self.tree.root)[1:]

    def on_device(self) -> set[Tokens]:
        return {path(node) for node in self.nodes() if not node.evicted}

    def on_host(self) -> set[Tokens]:
        return {path(node) for node in self.nodes() if node.backed_up}

    def content(self, *tokens: int, namespace: str | None = None) -> list[int]:
        """What lies in the device slots of a prefix."""
        return self.device_kv.contents_of(self.match(tokens, namespace).slots)


def path(node: TreeNode) -> Tokens:
    tokens: Tokens = ()
    while node.parent is not None:
        tokens, node = node.key + tokens, node.parent
    return tokens


def small(**settings: Any) -> Small:
    """Eight device and sixteen host slots, copies as early as can be, unless told otherwise."""
    usual: dict[str, Any] = {"device_slots": 8, "host_slots": 16, "write_policy": "write_back"}
    return Small(Settings(**{**usual, **settings}))


def spread(cache: HierarchicalCache) -> tuple[int, int]:
    """Device and host slots: free ones and those of nodes, each counted once."""
    nodes = cache.tree.subtree(cache.tree.root)[1:]
    device = [slot for node in nodes for slot in node.device or ()]
    host = [slot for node in nodes for slot in node.host or ()]
    assert len(set(device)) == len(device), "a device slot has two owners"
    assert len(set(host)) == len(host), "a host slot has two owners"
    return len(device) + cache.available_size, len(host) + cache.parts.host_pool.available
