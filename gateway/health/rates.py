"""Rates over the last seconds, from cumulative counts that are looked at once a second. Time is an argument."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

_SECONDS: Final = 10


class Rates:
    """Keeps the last ten looks at some cumulative counts."""

    def __init__(self) -> None:
        self._looks: deque[tuple[float, dict[str, int]]] = deque(maxlen=_SECONDS + 1)

    def look(self, now_s: float, counts: Mapping[str, int]) -> None:
        """Note the counts at `now_s`."""
        self._looks.append((now_s, dict(counts)))

    @property
    def looks(self) -> int:
        """How many looks are kept."""
        return len(self._looks)

    def per_second(self) -> dict[str, float]:
        """Return the mean rate of each count over the looks kept; zeros before the second look."""
        if not self._looks:
            return {}
        (first_s, first), (last_s, last) = self._looks[0], self._looks[-1]
        span_s = last_s - first_s
        return {name: round((last[name] - first.get(name, 0)) / span_s, 1) if span_s else 0.0 for name in last}
