"""How fast something grows, and when it will be full at that. Pure.

What waits in a ring swings with every batch that comes and every word from a region. So the least that waited in the
older half of the window is held against the least in the newer one: where a region keeps up both are nearly nothing,
however large the batches, and where it is away their difference is what came.
"""

from __future__ import annotations

from collections import deque
from typing import Final

WINDOW_S: Final = 600.0
LOOK_S: Final = 10.0
SPAN_S_MIN: Final = 60.0
"""Nothing is said of less."""
HOURS_MAX: Final = 24.0 * 365


class Growth:
    """Looks at one size; `now_s` is in seconds of a clock that does not step."""

    def __init__(self) -> None:
        self._looks: deque[tuple[float, float]] = deque()

    def look(self, now_s: float, size: float) -> None:
        """Note a size, at most once in `LOOK_S`."""
        looks = self._looks
        if looks and now_s - looks[-1][0] < LOOK_S:
            return
        looks.append((now_s, size))
        while now_s - looks[0][0] > WINDOW_S:
            looks.popleft()

    def per_s(self) -> float:
        """Return the growth per second; 0 while too little was seen, and when it shrinks."""
        looks = list(self._looks)
        if not looks or looks[-1][0] - looks[0][0] < SPAN_S_MIN:
            return 0.0
        middle = len(looks) // 2
        older, newer = (min(half, key=lambda look: look[1]) for half in (looks[:middle], looks[middle:]))
        return max(0.0, (newer[1] - older[1]) / (newer[0] - older[0]))

    def hours_until(self, room: float) -> float | None:
        """Return how long `room` lasts, in hours; None when it does not shrink, or for more than a year."""
        rate = self.per_s()
        if not rate:
            return None
        hours = max(0.0, room) / rate / 3600
        return round(hours, 2) if hours <= HOURS_MAX else None
