"""Comparing two editions: what is new, gone or kept, and how lists are said."""

from collections.abc import Collection, Iterator, Mapping
from typing import TypeVar

K = TypeVar("K")
V = TypeVar("V")

Named = Iterator[tuple[str, str]]
"""Sentences, each with the name of what it is about."""


def new(before: Mapping[K, V], after: Mapping[K, V]) -> list[V]:
    """Return what only the later one has, in its order."""
    return [value for key, value in after.items() if key not in before]


def gone(before: Mapping[K, V], after: Mapping[K, V]) -> list[V]:
    """Return what only the earlier one has, in its order."""
    return new(after, before)


def kept(before: Mapping[K, V], after: Mapping[K, V]) -> list[tuple[V, V]]:
    """Return what both have, as it was and as it is, in the order of the later one."""
    return [(before[key], value) for key, value in after.items() if key in before]


def listed(names: Collection[str], last: str = "and") -> str:
    """Say a list as people do: "a, b and c", or "nothing"."""
    if not names:
        return "nothing"
    *most, end = names
    return f"{', '.join(most)} {last} {end}" if most else end
