"""Objects and maps with equal keys, as lists of pairs: what no decoder may take."""

from __future__ import annotations


class Pairs(list):  # type: ignore[type-arg]  # of keys and values of any kind
    """Members of an object or map, equal keys and all."""


def has_equal_keys(value: object) -> bool:
    """Say whether anything inside of nested lists and `Pairs` has a key twice."""
    if isinstance(value, Pairs):
        keys = [key for key, _ in value]
        return len(set(keys)) < len(keys) or any(has_equal_keys(inner) for _, inner in value)
    return isinstance(value, list) and any(map(has_equal_keys, value))
