"""Exhaustive small scope: every list of operations within a bound."""
