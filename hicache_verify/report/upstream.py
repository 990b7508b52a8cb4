"""What a finding is in plain calls on a release's own classes: what is done, what is asserted.

The template puts them together. What has no form in plain calls is named, never left out quietly.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise

import attrs

from hicache_model import operations as ops
from hicache_model import outcomes
from hicache_model.operations import Operation
from hicache_model.snapshot import Node, Path
from hicache_verify.divergence import Divergence, NodePair
from hicache_verify.report.code import Code, Group, integers, layout
from hicache_verify.report.forms import HELPERS, Form
from hicache_verify.report.spelling import Spelling, in_namespace, spelling
from hicache_verify.trace import Trace


def closure(names: Iterable[str], needs: Mapping[str, tuple[str, ...]]) -> frozenset[str]:
    """The names, and everything that they need."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += needs.get(name, ())
    return frozenset(found)


@attrs.define(frozen=True, slots=True)
class Plan:
    """What the template writes: statements, then what is asserted or said, and the helpers."""

    statements: tuple[str, ...]
    facts: tuple[str, ...]
    comments: tuple[str, ...]
    law: str
    used: frozenset[str]
    ways: dict[str, str]
    has_salts: bool


def plan(trace: Trace, divergence: Divergence | None, form: Form) -> Plan:
    """Up to the operation at which it parts."""
    known = form.of(trace.release)
    end = None if divergence is None else divergence.step + 1
    performed, law, comment = trace.operations[:end], "", ""
    has_salts, spell = spelling(trace.release, _namespaces(performed, divergence))
    facts: tuple[str, ...] = ()
    answer: tuple[str, ...] = ()
    unsaid = _unsayable(performed, trace, form)
    if unsaid is not None:
        performed, comment = performed[: unsaid[0]], unsaid[1]
    elif divergence is not None:
        facts = _facts(divergence, form, known, spell) if divergence.kind == "state" else ()
        law = divergence.law if divergence.law in form.laws and not facts else ""
        answer = _answer(divergence, known) if performed and not (facts or law) else ()
        if divergence.kind == "law" and not (law or answer):
            facts = _facts(divergence, form, known, spell)
        comment = "" if facts or law or answer else _about_the_law(divergence)
    names = {HELPERS[type(op)] for op in performed if type(op) in HELPERS}
    names.update(("find" if form.facts else "match",) if facts else form.laws.get(law, ()))
    if any(isinstance(op, ops.EvictDevice) for op in performed):
        names.add("EvictParams")
    used = closure(names, form.needs)
    if known.get("load_from") == "":
        used -= {"InitLoadBackParams"}
    comments = (comment,) if comment else ()
    statements = [statement(op, spell) for op in performed]
    if answer:
        statements[-1] = layout(_call(performed[-1], spell), 8, "answer = ")
    return Plan(tuple(statements), facts or answer, comments, law, used, known, has_salts)


def _namespaces(performed: Sequence[Operation], divergence: Divergence | None) -> Iterator[str]:
    """All that a test may name."""
    pairs = () if divergence is None else divergence.nodes
    for named in (*performed, *(pair.path for pair in pairs)):
        namespace = getattr(named, "namespace", None)
        if namespace is not None:
            yield namespace


def _unsayable(performed: Sequence[Operation], trace: Trace, form: Form) -> tuple[int, str] | None:
    """The first operation without a form in plain calls, and why there is none."""
    for index, op in enumerate(performed):
        what = _formless(op, trace, form)
        if what is not None:
            return index, (
                f"{what}: this test stops before operation {index + 1} of {len(performed)}. The "
                "replay form has them all."
            )
    return None


def _formless(op: Operation, trace: Trace, form: Form) -> str | None:
    """Why an operation cannot be said here, as the beginning of a sentence.

    What a request does for a window or for a state is done inside the caches, by their components:
    to restate it in plain calls would be to copy them. Such tests are written by hand.
    """
    if trace.configuration.component != "full":
        return "A component beside full attention has no form in plain calls"
    if trace.configuration.bigram:
        return "A cache with keys of pairs has no form in plain calls"
    if isinstance(op, ops.REQUEST_OPERATIONS) and trace.configuration.strip_thinking:
        return "A request whose thoughts are stripped has no form in plain calls"
    if isinstance(op, ops.BeginRequest) and op.outputs:
        return "A request that was retracted before has no form in plain calls"
    return form.lacks.get(type(op))


# -- what is asserted ------------------------------------------------------------------------------


def _answer(divergence: Divergence, known: Mapping[str, str]) -> tuple[str, ...]:
    """Where the last call answered otherwise than the model: what its ``answer`` should be."""
    due, op = divergence.due, divergence.operation
    if divergence.law == "progress" and divergence.nodes and isinstance(op, ops.EvictDevice):
        return _enough(op.count)
    read: dict[type, dict[str, str]] = {
        outcomes.Matched: {
            "device_length": known["matched"],
            "host_length": "answer.host_hit_length",
        },
        outcomes.Inserted: {"prefix_length": "answer"},
        outcomes.Evicted: {"tokens": "answer.num_tokens_evicted"},
        outcomes.LoadedBack: {"tokens": "answer"},
    }
    return tuple(
        layout(Group("self.assertEqual", (code, str(getattr(due, name)))), 8)
        for name, code in read.get(type(due), {}).items()
    )


def _enough(count: int) -> tuple[str, ...]:
    """An eviction came short, although more can be evicted."""
    due = f"min({count}, evicted + self.cache.evictable_size())"
    return (
        "        evicted = answer.num_tokens_evicted",
        layout(Group("self.assertGreaterEqual", ("evicted", due)), 8),
    )


def _facts(
    divergence: Divergence, form: Form, known: Mapping[str, str], spell: Spelling
) -> tuple[str, ...]:
    """Where the model predicted other nodes: what they should be, a statement each."""
    nodes = divergence.nodes
    if not form.facts:
        return tuple(line for pair in nodes for line in _about_lookup(pair, known, spell))
    return tuple(line for pair in nodes for line in _about_node(pair, form, spell)) or tuple(
        line for pair in pairwise(nodes) for line in _about_order(*pair, spell)
    )


def _about_node(pair: NodePair, form: Form, spell: Spelling) -> Iterator[str]:
    found = _find(pair.path, spell)
    if pair.expected is None:
        yield layout(Group("self.assertIsNone", (found,)), 8)
    elif pair.actual is None:
        yield layout(Group("self.assertIsNotNone", (found,)), 8)
    elif parted := tuple(_parted(pair.expected, pair.actual, form)):
        yield layout(found, 8, "node = ")
        for code, due in parted:
            yield layout(Group("self.assertEqual", (code, repr(due))), 8)


def _about_lookup(pair: NodePair, known: Mapping[str, str], spell: Spelling) -> Iterator[str]:
    """Of a node that cannot be looked into: how much of its path a lookup finds, and where."""
    asserted = tuple(_parted_in_lookup(pair, known["matched"]))
    if asserted:
        yield layout(Group("self.match", _named(pair.path, spell)), 8, "answer = ")
    for one in asserted:
        yield layout(one, 8)


def _parted_in_lookup(pair: NodePair, on_device: str) -> Iterator[Code]:
    due, actual, length = pair.expected, pair.actual, str(len(pair.path.tokens))
    found = f"{on_device} + answer.host_hit_length"
    if due is None:
        yield Group("self.assertLess", (found, length))
    elif actual is None or due.evicted != actual.evicted:
        yield Group("self.assertLess" if due.evicted else "self.assertEqual", (on_device, length))
        yield Group("self.assertEqual", (found, length))
    elif due.backed_up != actual.backed_up:
        backed_up = "self.cache.is_backuped(answer.last_device_node)"
        yield Group("self.assertEqual", (backed_up, repr(due.backed_up)))


def _about_order(one: NodePair, other: NodePair, spell: Spelling) -> Iterator[str]:
    """Of two nodes that should be the other way round in time."""
    for name, code in (("last_access", "last_access_time"), ("creation", "creation_time")):
        sides = [(one.expected, other.expected), (one.actual, other.actual)]
        due, found = ([getattr(node, name, 0) for node in side] for side in sides)
        if due[0] < due[1] and found[0] > found[1]:
            yield layout(_find(one.path, spell), 8, "earlier = ")
            yield layout(_find(other.path, spell), 8, "later = ")
            yield layout(Group("self.assertLess", (f"earlier.{code}", f"later.{code}")), 8)


def _find(path: Path, spell: Spelling) -> Code:
    return Group("self.find", _named(path, spell))


def _named(path: Path, spell: Spelling) -> tuple[Code, ...]:
    return (integers(path.tokens), *in_namespace(path.namespace, spell))


def _parted(expected: Node, actual: Node, form: Form) -> Iterator[tuple[str, object]]:
    for name, code in form.facts.items():
        due = getattr(expected, name)
        if due != getattr(actual, name):
            yield code, due


def _about_the_law(divergence: Divergence) -> str:
    """What the statements alone do not tell."""
    if divergence.kind == "crash":
        return f"The last call raised {divergence.exception} where this was found."
    return (
        f"What broke here ({divergence.law}) is judged against hicache-verify's model: it has no "
        "form in plain calls, and this test only performs them."
    )


# -- what is done ----------------------------------------------------------------------------------


def statement(op: Operation, spell: Spelling) -> str:
    """One call, indented for a method's body."""
    return layout(_call(op, spell), 8)


def _call(op: Operation, spell: Spelling) -> Code:
    if isinstance(op, ops.EvictDevice):
        return Group("self.cache.evict", (f"EvictParams(num_tokens={op.count})",))
    if isinstance(op, ops.EvictHost):
        return Group("self.cache.evict_host", (str(op.count),))
    if isinstance(op, ops.StartLoads):
        return "self.cache.ready_to_load_host_cache()"
    if isinstance(op, ops.StartWrites):
        return "self.cache.flush_pending_backups()"
    if isinstance(op, ops.CompleteWrites):
        return Group("self.complete", ("self.controller.ack_write_queue", str(op.count)))
    if isinstance(op, ops.CompleteLoads):
        return Group("self.complete", ("self.controller.ack_load_queue", str(op.count)))
    return Group(f"self.{HELPERS[type(op)]}", tuple(_arguments(op, spell)))


def _arguments(op: Operation, spell: Spelling) -> Iterator[Code]:
    for field in attrs.fields(type(op)):
        value = getattr(op, field.name)
        if field.name == "tokens":
            yield integers(value)
        elif field.name == "namespace":
            yield from in_namespace(value, spell)
        elif field.default is attrs.NOTHING:
            yield f"chunk={value}" if field.name == "chunk" else str(value)
        elif value != field.default:
            yield f"{field.name}={value!r}"
