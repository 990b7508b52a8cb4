"""Caches under test: the interface, and the adapters to real caches."""
