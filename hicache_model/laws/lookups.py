"""What a lookup answers."""

from __future__ import annotations

from collections.abc import Iterator

from hicache_model import operations as ops
from hicache_model.definitions import is_on_path, usable_length
from hicache_model.laws.law import Violation, law
from hicache_model.laws.step import Step
from hicache_model.outcomes import Matched
from hicache_model.snapshot import Path


@law(
    "namespace-isolation",
    "A lookup in one namespace answers with nothing of another.",
    taught_by="SGLang #26747, #37058, #38577",
)
def _namespace_isolation(step: Step) -> Iterator[Violation]:
    if not isinstance(step.outcome, Matched) or not isinstance(step.operation, ops.Match):
        return
    given = set(step.outcome.slots)
    for node in step.family.nodes.values():
        foreign = sorted(given & set(node.device or ()))
        if foreign and node.path.namespace != step.operation.namespace:
            yield Violation(
                f"a lookup in {step.operation.namespace!r} answered slots {foreign} of node "
                f"{node.path}",
                (node.path,),
            )


@law(
    "longest-prefix",
    "A lookup answers with the slots of the longest prefix on the device, in order.",
    taught_by="vLLM #37076",
)
def _longest_prefix(step: Step) -> Iterator[Violation]:
    if not isinstance(step.outcome, Matched) or not isinstance(step.operation, ops.Match):
        return
    page, (namespace, keys) = step.configuration.page_size, step.asked(step.operation)
    asked = Path(namespace, keys[: len(keys) // page * page])
    due: list[int] = []
    on_path = [n for n in step.family.nodes.values() if is_on_path(n.path, asked)]
    on_path.sort(key=lambda n: len(n.path.tokens))
    for node in on_path:
        due.extend(node.device or ())
    if step.configuration.component == "swa":
        values = [bool(n.component and n.component.device is not None) for n in on_path]
        has = [v for v, n in zip(values, on_path, strict=True) for _ in range(n.length)]
        due = due[: usable_length(has, step.configuration.window)]
    if step.configuration.component == "mamba":
        ends = [len(n.path.tokens) for n in on_path if n.component and n.component.device]
        due = due[: max(ends, default=0)]
    if step.outcome.slots != tuple(due) or step.outcome.device_length != len(due):
        yield Violation(
            f"a lookup of {asked} answered {step.outcome.device_length} tokens in slots "
            f"{list(step.outcome.slots)}, but the tree holds slots {due} for it"
        )
