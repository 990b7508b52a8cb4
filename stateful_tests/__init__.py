"""The Hypothesis state machines, and the tests that run them on a real cache."""
