"""The command line: one file a command. What is slow to import is imported inside commands."""

from hicache_verify.cli.main import main

__all__ = ["main"]
