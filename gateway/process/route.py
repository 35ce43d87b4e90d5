"""Which route takes a topic: the first one with a filter that matches.

Looking it up costs a walk over all filters, so they are one regular expression, and what is known of a topic is kept in
a bounded cache. The cache holds nothing that cannot be made again: forgetting it changes the time a message takes and
nothing else.
"""

from __future__ import annotations

import re
from itertools import islice
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from gateway.process.topics import expression, matches

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Known = TypeVar("Known")

_PART: Final = 64


def first_match(routes: Sequence[tuple[str, ...]], topic: str) -> int | None:
    """Return the index of the first route, given as its filters, that takes `topic`; None when none does."""
    for index, patterns in enumerate(routes):
        if any(matches(pattern, topic) for pattern in patterns):
            return index
    return None


def matcher(routes: Sequence[tuple[str, ...]]) -> Callable[[str], int | None]:
    """Return a function that says what `first_match` says of a topic, several times faster where there are many."""
    if not routes:
        return lambda _: None
    choices = ("|".join(map(expression, patterns)) for patterns in routes)
    fullmatch = re.compile("|".join(f"({choice})" for choice in choices), re.DOTALL).fullmatch

    def first(topic: str) -> int | None:
        found = fullmatch(topic)
        return None if found is None or found.lastindex is None else found.lastindex - 1

    return first


class TopicCache(dict[str, Known], Generic[Known]):
    """What `make` says of each topic: `cache[topic]` asks it once, as long as there is room.

    Full, it forgets what it has known longest, a part of it at a time so that no one call takes long. Topics longer
    than `characters_max` are not kept at all.
    """

    __slots__ = ("_characters_max", "_make", "_topics_max")

    def __init__(self, make: Callable[[str], Known], topics_max: int, characters_max: int = 256) -> None:
        super().__init__()
        self._make = make
        self._topics_max = topics_max
        self._characters_max = characters_max

    def __missing__(self, topic: str) -> Known:
        known = self._make(topic)
        if len(topic) <= self._characters_max:
            if len(self) >= self._topics_max:
                for oldest in list(islice(self, 1 + self._topics_max // _PART)):
                    del self[oldest]
            self[topic] = known
        return known
