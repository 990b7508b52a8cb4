"""Do plain calls do what the target does?

``python -m tests.verify.plain_calls RELEASE EXAMPLES [CACHE [CORE]]``: random legal operations run
on the target in lockstep; the upstream form of the same trace runs in the same process, must find
no law broken, get the same last answer, and must end with the same tree.
"""

from __future__ import annotations

import sys
import unittest
from random import Random
from typing import Any

from hicache_impl.sglang import build as hiradix_build
from hicache_impl.sglang.unified import build as unified_build
from hicache_model.operations import Operation
from hicache_verify.campaigns.cells import Cell
from hicache_verify.divergence import Divergence
from hicache_verify.lockstep import Lockstep
from hicache_verify.menu import RandomChooser
from hicache_verify.report.forms import FORMS, Form
from hicache_verify.report.pytest_files import upstream_file
from hicache_verify.report.upstream import plan as plan_of
from hicache_verify.sources.examples import draw_plan
from hicache_verify.targets import SGLANG, TargetSpec, open_factory
from hicache_verify.trace import Trace

FACTS = (
    *("evicted", "backed_up", "length", "lock_ref", "host_lock"),
    *("in_device_leaves", "in_host_leaves"),
)
WRITE_POLICIES = ("write_back", "write_through", "write_through_selective")


def main(release: str, examples: int, cache: str = "hiradix", core: str | None = None) -> int:
    unified = core if cache == "unified" else None
    factory: Any = open_factory(TargetSpec(release=release, cache=cache, core=unified))
    form = FORMS[factory.description.target]
    compared = 0
    for seed in range(examples):
        random = Random(seed)
        lockstep = play(factory, form, random)
        if lockstep is None:
            continue
        laws = [name for name in sorted(form.laws) if holds(name, lockstep)]
        law = random.choice([*laws, "answer"])
        case, names = run_form(factory, lockstep, law)
        if room(case) != expected_room(lockstep) or (
            form.facts and nodes(case, names, form) != expected_nodes(lockstep)
        ):
            sys.stderr.write(f"seed {seed}: other tree after {lockstep.performed}\n")
            return 1
        compared += 1
    sys.stdout.write(f"{release}: {compared} traces compared\n")
    return 0 if compared > examples // 5 else 1


def play(factory: Any, form: Form, random: Random) -> Lockstep | None:
    """A run, of what has a form in plain calls, that agreed to its end."""
    chooser = RandomChooser(random)
    policies = factory.description.eviction_policies
    cell = Cell(random.choice(WRITE_POLICIES), random.choice((1, 1, 2)), random.choice(policies))
    plan = draw_plan(cell, factory.description, chooser)
    lockstep = Lockstep(factory, plan.configuration.with_(io_backend="direct"))
    menu = plan.menu(lockstep.model)
    for _ in range(plan.length):
        operation = menu.draw(chooser)
        if operation is None or not sayable(operation, factory, lockstep, form):
            continue
        if lockstep.step(operation) is not None:
            return None
    return lockstep


def sayable(operation: Operation, factory: Any, lockstep: Lockstep, form: Form) -> bool:
    """Whether it has a form in plain calls."""
    about = factory.description
    alone = Trace(lockstep.configuration, about.target, about.release, (operation,))
    return bool(plan_of(alone, None, form).statements)


def holds(law: str, lockstep: Lockstep) -> bool:
    """Whether it is a law under this write policy."""
    return law != "backup-prefix-closed" or lockstep.configuration.write_policy != "write_back"


def run_form(factory: Any, lockstep: Lockstep, law: str) -> tuple[Any, dict[str, Any]]:
    """The upstream form after its test method, and its module; what it raises comes through."""
    trace = recorded(factory, lockstep)
    last, due = len(trace.operations) - 1, lockstep.outcome
    found = Divergence("law", law, "law", "", last, trace.operations[-1], due=due)
    names: dict[str, Any] = {"__name__": "generated"}
    exec(compile(upstream_file(trace, found, "x"), "generated", "exec"), names)  # noqa: S102
    unified = factory.description.target != SGLANG
    start_afresh = unified_build.start_afresh if unified else hiradix_build.start_afresh
    sizes: Any = lockstep.configuration
    start_afresh(factory.loaded, sizes)
    case = names["TestX"]("test_x")
    result = unittest.TestResult()
    case.run(result)
    for _, text in result.failures + result.errors:
        raise AssertionError(f"{law} after {lockstep.performed}\n{text}")
    return case, names


def recorded(factory: Any, lockstep: Lockstep) -> Trace:
    about = factory.description
    return Trace(lockstep.configuration, about.target, about.release, tuple(lockstep.performed))


def nodes(case: Any, names: dict[str, Any], form: Form) -> Any:
    """The facts of all nodes of the cache of the form."""
    root = getattr(case, "tree", case.cache).root_node
    found, waiting = {}, [((), child) for child in root.children.values()]
    while waiting:
        above, node = waiting.pop()
        tokens = (*above, *node.key.token_ids)
        waiting += [(tokens, child) for child in node.children.values()]
        here = names | {"self": case, "node": node}
        found[node.key.extra_key, tokens] = {
            fact: eval(form.facts[fact], here)  # noqa: S307 - an expression of our own table, as the written test has it
            for fact in FACTS
        }
    return found


def expected_nodes(lockstep: Lockstep) -> Any:
    """The same of the target."""
    shown = lockstep.actual.nodes.items()
    return {
        tuple(path): {fact: getattr(node, fact) for fact in FACTS}
        for path, node in shown
        if node is not None
    }


def room(case: Any) -> tuple[int, int]:
    """Free slots of the device and of the host."""
    pool = case.cache.cache_controller.mem_pool_host
    return case.allocator.available_size(), pool.available_size()


def expected_room(lockstep: Lockstep) -> tuple[int, int]:
    page = lockstep.configuration.page_size
    return len(lockstep.actual.device_free) * page, len(lockstep.actual.host_free)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2]), *sys.argv[3:]))
