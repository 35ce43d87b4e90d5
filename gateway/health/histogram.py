"""How long something took, counted by bounds: what a supervisor makes quantiles of. Pure.

A value costs one bisection, and values are few: one a commit, one a batch, four a second for the loop; never one a
message. Buckets are not cumulative here; who shows them adds them up.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

COMMIT_S: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
"""For what waits for the disk."""
LOOP_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
DELIVERY_S: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 7200.0, 43200.0)
"""For the way to a region, which may take a night."""


class Histogram:
    """Counts of values by `bounds`, upper ones, in seconds; what is above all has a bucket of its own."""

    __slots__ = ("_bounds", "_counts", "_sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = tuple(bounds)
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        """Count a value; one below 0, of a clock that stepped, counts as 0."""
        value = max(0.0, value)
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def status(self) -> dict[str, object]:
        """Return upper bound → values up to it, "+Inf" for all, and the sum of all values."""
        buckets, total = {}, 0
        for bound, number in zip((*self._bounds, "+Inf"), self._counts, strict=True):
            total += number
            buckets[str(bound)] = total
        return {"buckets": buckets, "sum": round(self._sum, 6)}
