"""The engine: a reference model and a real cache in lockstep, and what becomes of a difference."""
