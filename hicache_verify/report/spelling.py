"""How a namespace is written in plain calls: its extra_key, and its salt where a test has salts."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeAlias

from hicache_impl.sglang.namespaces import parts_of
from hicache_verify.report.code import Code, Group, one_line, quoted

Spelling: TypeAlias = Callable[[str], Code]


def spelling(release: str, namespaces: Iterable[str]) -> tuple[bool, Spelling]:
    """Whether one of them has a salt in this release, and how all of them are written then."""
    has_salts = any(parts_of(name, release).cache_salt is not None for name in namespaces)

    def pair(namespace: str) -> Code:
        parts = parts_of(namespace, release)
        return Group("", tuple("None" if part is None else quoted(part) for part in parts))

    return has_salts, pair if has_salts else quoted


def in_namespace(namespace: str | None, spell: Spelling) -> tuple[Code, ...]:
    """The argument, where there is one."""
    return () if namespace is None else (f"namespace={one_line(spell(namespace))}",)
