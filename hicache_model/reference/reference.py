"""The reference as a whole: an operation goes in, and its outcome comes out."""

from __future__ import annotations

from hicache_model import operations as ops
from hicache_model.components import component_of
from hicache_model.configuration import Configuration
from hicache_model.dialects import Dialect
from hicache_model.outcomes import Done, Outcome
from hicache_model.reference.shown import Shown


class Reference(Shown):
    """``apply(operation)`` changes the facts and returns the predicted outcome."""

    def __init__(self, configuration: Configuration, dialect: Dialect) -> None:
        super().__init__(configuration, dialect)
        self.component = component_of(self)
        self._handlers = {
            cls: getattr(self, f"_op_{name}") for cls, name in ops.codec.names.items()
        }

    def apply(self, operation: ops.Operation) -> Outcome:
        """Raises nothing for an operation that ``rules.refusal`` allows."""
        outcome: Outcome = self._handlers[type(operation)](operation)
        return outcome

    def _op_reset(self, op: ops.Reset) -> Outcome:
        removed = set(self.tree.by_path)
        self._forget()
        self.component.forget()
        self.tree.removed |= removed
        return Done()
