"""The Hypothesis state machines, and the tests that run them on each target, policy and page size."""
