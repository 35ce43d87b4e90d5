"""Quantiles of many numbers in little memory, with a relative error: DDSketch.

A number falls into the bucket ceil(log(|x|) / log(gamma)); all numbers of one bucket differ by at most the stated
share, so its middle stands for each of them. Negative numbers have buckets of their own, zeros a count. Sketches of two
sets merge into that of both. `BUCKETS_MAX` bounds the memory: past it, the buckets of the smallest magnitudes are
joined, and the quantiles that fall among them lose the guarantee. 2,048 buckets at 1 % span 17 orders of magnitude.

Source: C. Masson, J. E. Rim, H. K. Lee, "DDSketch: a fast and fully-mergeable quantile sketch with relative-error
guarantees", PVLDB 12(12), 2019, sections 2 and 3.
"""

from __future__ import annotations

import sys
from math import ceil, log
from typing import TYPE_CHECKING, Any, Final, Self

if TYPE_CHECKING:
    from collections.abc import Sequence

RELATIVE_ERROR: Final = 0.01
BUCKETS_MAX: Final = 2048

_GAMMA: Final = (1 + RELATIVE_ERROR) / (1 - RELATIVE_ERROR)
_LOG_GAMMA: Final = log(_GAMMA)


class Sketch:
    """The numbers added so far. Finite ones only."""

    __slots__ = ("_negative", "_positive", "_zeros", "count")

    def __init__(self) -> None:
        self.count = 0
        self._zeros = 0
        self._positive: dict[int, int] = {}
        self._negative: dict[int, int] = {}

    def add(self, value: float) -> None:
        """Take in a number."""
        self.count += 1
        if not value:
            self._zeros += 1
            return
        buckets = self._positive if value > 0 else self._negative
        index = ceil(log(abs(value)) / _LOG_GAMMA)
        buckets[index] = buckets.get(index, 0) + 1
        if len(buckets) > BUCKETS_MAX:
            _collapse(buckets)

    def merge(self, other: Sketch) -> None:
        """Take in all that another sketch has."""
        self.count += other.count
        self._zeros += other._zeros
        for mine, theirs in ((self._positive, other._positive), (self._negative, other._negative)):
            for index, number in theirs.items():
                mine[index] = mine.get(index, 0) + number
            while len(mine) > BUCKETS_MAX:
                _collapse(mine)

    def quantile(self, share: float) -> float:
        """Return the number that `share` (0 to 1) of all lie below, within `RELATIVE_ERROR`; there must be some."""
        rank = int(share * (self.count - 1))
        for index in sorted(self._negative, reverse=True):
            rank -= self._negative[index]
            if rank < 0:
                return -_middle(index)
        rank -= self._zeros
        if rank < 0:
            return 0.0
        for index in sorted(self._positive):
            rank -= self._positive[index]
            if rank < 0:
                return _middle(index)
        raise AssertionError("a rank below the count lies in some bucket")

    def state(self) -> tuple[object, ...]:
        """Return all of it as plain data."""
        return self._zeros, sorted(self._positive.items()), sorted(self._negative.items())

    @classmethod
    def restored(cls, state: Sequence[Any]) -> Self:
        """Return the sketch of a state."""
        sketch = cls()
        sketch._zeros, positive, negative = state
        sketch._positive, sketch._negative = dict(positive), dict(negative)
        sketch.count = sketch._zeros + sum(sketch._positive.values()) + sum(sketch._negative.values())
        return sketch


def _middle(index: int) -> float:
    """Return the number whose relative distance to both ends of a bucket is the same.

    It is computed from the lower end, because the upper one may lie beyond all floats.
    """
    return float(min(_GAMMA ** (index - 1) * (2 * _GAMMA / (_GAMMA + 1)), sys.float_info.max))


def _collapse(buckets: dict[int, int]) -> None:
    """Join the two buckets of the smallest magnitudes."""
    lowest, second = sorted(buckets)[:2]
    buckets[second] += buckets.pop(lowest)
