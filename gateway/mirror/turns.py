"""Whose turn it is to send: each class in proportion to its weight, as long as it has something. Pure.

Stride scheduling: each class has a position on a line of virtual time, the one that is furthest behind is next, and
what it sends moves it on by bytes ÷ weight. A class that had nothing to send joins where the others are, so nobody
saves up turns; whoever is alone has the whole line.

Source: C. A. Waldspurger, W. E. Weihl, "Stride Scheduling: Deterministic Proportional-Share Resource Management",
MIT/LCS/TM-528, 1995.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    Class = TypeVar("Class", bound=Hashable)
else:
    Class = TypeVar("Class")


class Turns(Generic[Class]):
    """The positions of all classes that ever had a turn. `weight` gives the weight of one, above 0."""

    def __init__(self, weight: Callable[[Class], float]) -> None:
        self._weight = weight
        self._positions: dict[Class, float] = {}
        self._now = 0.0

    def choose(self, waiting: Sequence[Class]) -> Class:
        """Return whose turn it is among those that have something to send; the first of equals."""
        for one in waiting:
            self._positions[one] = max(self._positions.get(one, 0.0), self._now)
        chosen = min(waiting, key=self._positions.__getitem__)
        self._now = self._positions[chosen]
        return chosen

    def charge(self, one: Class, size: int) -> None:
        """Note that a class has sent `size` bytes."""
        self._positions[one] = self._positions.get(one, self._now) + size / self._weight(one)
