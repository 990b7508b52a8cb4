"""What the engine sees broken where no law judges a snapshot: one sentence for each identifier."""

from __future__ import annotations

SENTENCES = {
    "answer": "An operation answers what the model predicts.",
    "transition": "An operation changes the facts as the model predicts.",
    "own-check": "The cache's own check of its invariants finds nothing wrong.",
    "repeatable": "The same operations have the same effect every time.",
    "no-crash": "A legal operation raises nothing.",
    "no-hang": "Every operation returns.",
    "no-death": "No operation ends the process that it runs in.",
    "engine-sound": "The verifier itself does not fail.",
}


def sentence(identifier: str) -> str | None:
    """The sentence of a law, the model's or the engine's; None for an unknown one."""
    from hicache_model.laws import LAWS

    law = LAWS.get(identifier)
    return law.sentence if law is not None else SENTENCES.get(identifier)
