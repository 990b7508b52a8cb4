"""Do plain calls do what the target does? ``python -m tests.verify.plain_calls RELEASE EXAMPLES``.

Random legal operations run on the target in lockstep; the upstream form of the same trace runs in
the same process, must find no law broken, and must end with the same tree.
"""

from __future__ import annotations

import sys
import unittest
from random import Random
from typing import Any

from hicache_model.operations import REQUEST_OPERATIONS
from hicache_verify.campaigns.cells import Cell
from hicache_verify.divergence import Divergence
from hicache_verify.lockstep import Lockstep
from hicache_verify.menu import RandomChooser
from hicache_verify.report.pytest_files import upstream_file
from hicache_verify.report.upstream import LAWS
from hicache_verify.sources.examples import draw_plan
from hicache_verify.targets import TargetSpec, open_factory
from hicache_verify.trace import Trace

WRITE_POLICIES = ("write_back", "write_through", "write_through_selective")


def main(release: str, examples: int) -> int:
    factory: Any = open_factory(TargetSpec(release=release, cache="hiradix"))
    compared = 0
    for seed in range(examples):
        random = Random(seed)
        lockstep = play(factory, random)
        if lockstep is None:
            continue
        law = random.choice([name for name in sorted(LAWS) if holds(name, lockstep)])
        case = run_form(factory, lockstep, law)
        if tree(case) != expected(lockstep):
            sys.stderr.write(f"seed {seed}: other tree after {lockstep.performed}\n")
            return 1
        compared += 1
    sys.stdout.write(f"{release}: {compared} traces compared\n")
    return 0 if compared > examples // 5 else 1


def play(factory: Any, random: Random) -> Lockstep | None:
    """A run that agreed to its end, and that has a form in plain calls."""
    chooser = RandomChooser(random)
    policies = factory.description.eviction_policies
    cell = Cell(random.choice(WRITE_POLICIES), random.choice((1, 1, 2)), random.choice(policies))
    plan = draw_plan(cell, factory.description, chooser)
    lockstep = Lockstep(factory, plan.configuration.with_(io_backend="direct"))
    menu = plan.menu(lockstep.model)
    for _ in range(plan.length):
        operation = menu.draw(chooser)
        if operation is not None and lockstep.step(operation) is not None:
            return None
    requests = any(isinstance(op, REQUEST_OPERATIONS) for op in lockstep.performed)
    sayable = cell.page_size == 1 and factory.description.release != "0.5.20"
    return lockstep if sayable or not requests else None


def holds(law: str, lockstep: Lockstep) -> bool:
    """Whether it is a law under this write policy."""
    return law != "backup-prefix-closed" or lockstep.configuration.write_policy != "write_back"


def run_form(factory: Any, lockstep: Lockstep, law: str) -> Any:
    """The upstream form after its test method; what it raises comes through."""
    release = factory.description.release
    trace = Trace(lockstep.configuration, "sglang", release, tuple(lockstep.performed))
    found = Divergence("law", law, "law", "", 0, None)
    names: dict[str, Any] = {"__name__": "generated"}
    exec(compile(upstream_file(trace, found, "x"), "generated", "exec"), names)  # noqa: S102
    factory.loaded.around.clock.reset()
    factory.loaded.around.device.copies = lockstep.configuration.copies
    case = names["TestX"]("test_x")
    result = unittest.TestResult()
    case.run(result)
    for _, text in result.failures + result.errors:
        raise AssertionError(f"{law} after {lockstep.performed}\n{text}")
    return case


def tree(case: Any) -> Any:
    """What the cache of the form ended with."""
    nodes = {}
    waiting = [((), child) for child in case.cache.root_node.children.values()]
    while waiting:
        above, node = waiting.pop()
        tokens = (*above, *node.key.token_ids)
        waiting += [(tokens, child) for child in node.children.values()]
        nodes[node.key.extra_key, tokens] = (
            not node.evicted,
            node.backuped,
            node.lock_ref,
            node.host_ref_counter,
            node in case.cache.evictable_leaves,
            node in case.cache.evictable_host_leaves,
        )
    host = case.cache.token_to_kv_pool_host
    return nodes, case.allocator.available_size(), host.available_size()


def expected(lockstep: Lockstep) -> Any:
    """The same of the target."""
    snapshot = lockstep.actual
    nodes = {
        tuple(path): (
            not node.evicted,
            node.backed_up,
            node.lock_ref,
            node.host_lock,
            node.in_device_leaves,
            node.in_host_leaves,
        )
        for path, node in snapshot.nodes.items()
        if node is not None
    }
    page = lockstep.configuration.page_size
    return nodes, len(snapshot.device_free) * page, len(snapshot.host_free)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2])))
