"""How long to wait before the next attempt: full jitter, so that a fleet never knocks in step.

The wait after the n-th failure is uniform between 0 and min(ceiling, base x 2^(n-1)). Failures are forgotten only after
a link was up for `stable_s`, so that a peer that accepts and drops at once is not hammered.

Source: M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random

_DOUBLINGS_MAX = 32


class Backoff:
    """The waits of one link. Chance comes from the given generator, time is never read."""

    def __init__(self, chance: random.Random, base_s: float, ceiling_s: float, stable_s: float = 60.0) -> None:
        self._chance = chance
        self._base_s = base_s
        self._ceiling_s = ceiling_s
        self._stable_s = stable_s
        self._failures = 0

    def next_wait_s(self, up_s: float) -> float:
        """Return the wait after a link that was up for `up_s` seconds (0 when it never was)."""
        self._failures = 0 if up_s >= self._stable_s else min(self._failures + 1, _DOUBLINGS_MAX)
        return self._chance.uniform(0.0, min(self._ceiling_s, self._base_s * 2 ** max(0, self._failures - 1)))
