"""Do plain calls do what the target does?

``python -m tests.verify.plain_calls RELEASE EXAMPLES [CACHE [CORE]]``: random legal operations run
on the target in lockstep, half of the runs mostly operations on requests; the upstream form of the
same trace runs in the same process, must find no law broken, get the same last answer, ask the same
of the cache call by call, and must end with the same tree. Of a tree that cannot be looked into,
lookups tell.
"""

from __future__ import annotations

import sys
import unittest
from collections.abc import Sequence
from random import Random
from typing import Any

import attrs

from hicache_impl.sglang import build as hiradix_build
from hicache_impl.sglang.namespaces import namespace_of, parts_of, radix_key
from hicache_impl.sglang.releases import Range
from hicache_impl.sglang.unified import build as unified_build
from hicache_model.definitions import is_on_path
from hicache_model.operations import REQUEST_OPERATIONS, BeginRequest, Operation
from hicache_model.snapshot import Path
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
from tests.verify.heard import Heard, first_other

FACTS = (
    *("evicted", "backed_up", "length", "lock_ref", "host_lock"),
    *("in_device_leaves", "in_host_leaves", "hit_count"),
)
NO_PRIORITIES = Range(since="0.5.12", before="0.5.13")
"""Where nodes of UnifiedRadixCache have none."""
WRITE_POLICIES = ("write_back", "write_through", "write_through_selective")


def main(release: str, examples: int, cache: str = "hiradix", core: str | None = None) -> int:
    unified = core if cache == "unified" else None
    factory: Any = open_factory(TargetSpec(release=release, cache=cache, core=unified))
    form = FORMS[factory.description.target]
    heard = Heard(class_of(factory.loaded, cache))
    compared = 0
    for seed in range(examples):
        random = Random(seed)
        heard.take()
        lockstep = play(factory, form, random)
        if lockstep is None:
            continue
        due = heard.take()
        laws = [name for name in sorted(form.laws) if holds(name, lockstep)]
        law = random.choice([*laws, "answer"])
        case, names = run_form(factory, lockstep, law)
        other = first_other(due, heard.take())
        if other is not None:
            sys.stderr.write(f"seed {seed}: {other} in {lockstep.performed}\n")
            return 1
        if room(case) != expected_room(lockstep) or not same_tree(
            case, names, form, factory, lockstep
        ):
            sys.stderr.write(f"seed {seed}: other tree after {lockstep.performed}\n")
            return 1
        compared += 1
    sys.stdout.write(f"{release}: {compared} traces compared\n")
    return 0 if compared > examples // 5 else 1


def class_of(loaded: Any, cache: str) -> type:
    """The class whose calls are heard."""
    unified = cache == "unified"
    module = loaded.module(f"mem_cache.{'unified_radix' if unified else 'hiradix'}_cache")
    kind: type = module.UnifiedRadixCache if unified else module.HiRadixCache
    return kind


def play(factory: Any, form: Form, random: Random) -> Lockstep | None:
    """A run, of what has a form in plain calls, that agreed to its end."""
    chooser = RandomChooser(random)
    policies = factory.description.eviction_policies
    others = random.choice((1.0, 0.2))
    page_size = random.choice((1, 1, 2))
    cell = Cell(random.choice(WRITE_POLICIES), page_size, random.choice(policies))
    plan = draw_plan(cell, factory.description, chooser)
    lockstep = Lockstep(factory, plan.configuration.with_(io_backend="direct"))
    menu = plan.menu(lockstep.model)
    for _ in range(int(plan.length / others)):
        operation = menu.draw(chooser)
        if operation is None or not sayable(operation, factory, lockstep, form):
            continue
        if not isinstance(operation, REQUEST_OPERATIONS) and random.random() > others:
            continue
        if others < 1 and isinstance(operation, BeginRequest):
            pages = random.randint(1, -(-len(operation.tokens) // page_size))
            operation = attrs.evolve(operation, chunk=pages * page_size)  # the menu: mostly all
        if lockstep.step(operation) is not None:
            return None
    return lockstep if lockstep.performed else None


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


def same_tree(
    case: Any, names: dict[str, Any], form: Form, factory: Any, lockstep: Lockstep
) -> bool:
    if form.facts:
        facts = FACTS if factory.loaded.version in NO_PRIORITIES else (*FACTS, "priority")
        return bool(nodes(case, names, form, facts) == expected_nodes(lockstep, facts))
    shown = [path for path, node in lockstep.actual.nodes.items() if node is not None]
    return all(looked_up(case, factory, path) == expected_lookup(path, lockstep) for path in shown)


def nodes(case: Any, names: dict[str, Any], form: Form, facts: Sequence[str]) -> Any:
    """These facts of all nodes of the cache of the form."""
    root = getattr(case, "tree", case.cache).root_node
    found, waiting = {}, [((), child) for child in root.children.values()]
    while waiting:
        above, node = waiting.pop()
        tokens = (*above, *node.key.token_ids)
        waiting += [(tokens, child) for child in node.children.values()]
        here = names | {"self": case, "node": node}
        found[namespace_of(node.key), tokens] = {
            fact: eval(form.facts[fact], here)  # noqa: S307 - an expression of our own table, as the written test has it
            for fact in facts
        } | {"last_access": node.last_access_time}
    return in_order(found)


def expected_nodes(lockstep: Lockstep, facts: Sequence[str]) -> Any:
    """The same of the target."""
    shown = lockstep.actual.nodes.items()
    return in_order(
        {
            tuple(path): {fact: getattr(node, fact) for fact in (*facts, "last_access")}
            for path, node in shown
            if node is not None
        }
    )


def in_order(found: dict[Any, dict[str, Any]]) -> dict[Any, dict[str, Any]]:
    """With the rank of each node's last access: the clock may tick elsewhere too."""
    times = sorted({facts["last_access"] for facts in found.values()})
    return {
        path: facts | {"last_access": times.index(facts["last_access"])}
        for path, facts in found.items()
    }


def looked_up(case: Any, factory: Any, path: Path) -> tuple[int, int]:
    """How much of a path is found on the device, and beyond that on the host."""
    base = factory.loaded.module("mem_cache.base_prefix_cache")
    parts = parts_of(path.namespace, factory.loaded.version)
    kind = factory.loaded.module("mem_cache.radix_cache").RadixKey
    key = radix_key(kind, case.key(path.tokens).token_ids, parts)
    answer = case.cache.match_prefix(base.MatchPrefixParams(key=key))
    on_device = getattr(answer, "device_prefix_len", None)  # from 0.5.22 on
    if on_device is None:
        on_device = len(answer.device_indices)
    return on_device, answer.host_hit_length


def expected_lookup(path: Path, lockstep: Lockstep) -> tuple[int, int]:
    shown = lockstep.actual.nodes.items()
    on_device = sum(
        node.length
        for above, node in shown
        if node is not None and not node.evicted and is_on_path(above, path)
    )
    return on_device, len(path.tokens) - on_device


def room(case: Any) -> tuple[int, ...]:
    """Free slots of the device and of the host, and copies that were started, each way."""
    controller = case.cache.cache_controller
    acks = controller.ack_write_queue, controller.ack_load_queue
    return (
        case.allocator.available_size(),
        controller.mem_pool_host.available_size(),
        *map(len, acks),
    )


def expected_room(lockstep: Lockstep) -> tuple[int, ...]:
    page, shown = lockstep.configuration.page_size, lockstep.actual
    started = [copy.kind for copy in shown.transfers if copy.started]
    return (
        len(shown.device_free) * page,
        len(shown.host_free),
        started.count("write"),
        started.count("load"),
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2]), *sys.argv[3:]))
