"""Which of a region's places carries its mirror: the first that does its work. Pure.

The region's own place is number 0; its standbys follow in order of preference. A place **works** when it acknowledges,
or when its link has been up for a while with nothing in flight; being connected proves nothing. The active one is left
when it has not worked for `after_ns` while there was something to do; then each of the others gets as long, in turn.
A better one is gone back to when it has held a link for `hold_down_ns` and answers on it, so a place that comes and
goes does not make the mirror do the same. Each node draws its own hold-down, up to half as long again: a fleet that was
away together does not come back together.

Invariant: with a single place nothing ever changes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import random

STABLE_NS: Final = 30 * 10**9
"""Time a link must be up with nothing in flight to count as working; half of `after_ns` where that is less."""


class Failover:
    """The choice. Times are nanoseconds of a clock that does not step; `active` is the place that carries now."""

    def __init__(self, places: int, after_ns: int, hold_down_ns: int, chance: random.Random) -> None:
        self._places = places
        self._after_ns = after_ns
        self.stable_ns = min(STABLE_NS, after_ns // 2)
        self.hold_down_ns = round(hold_down_ns * chance.uniform(1.0, 1.5))
        self.active = 0
        self._failing_since: int | None = None
        self.counts = {"failovers": 0, "failbacks": 0}

    @property
    def better(self) -> range:
        """The places that are preferred to the active one, best first."""
        return range(self.active)

    def works(self) -> None:
        """Note that the active place does its work."""
        self._failing_since = None

    def does_not_work(self, now_ns: int) -> None:
        """Note that there is something to do, and the active place has not done it yet."""
        if self._failing_since is None:
            self._failing_since = now_ns

    def overdue_in_ns(self, now_ns: int) -> int | None:
        """Return how long until another place is to have its turn; None while the active one works or is alone."""
        if self._places == 1 or self._failing_since is None:
            return None
        return max(0, self._failing_since + self._after_ns - now_ns)

    def is_overdue(self, now_ns: int) -> bool:
        """Whether another place is to have its turn."""
        return self.overdue_in_ns(now_ns) == 0

    def go_on(self, now_ns: int) -> None:
        """Let the next place carry the mirror."""
        assert self.is_overdue(now_ns)
        self.active = (self.active + 1) % self._places
        self._failing_since = now_ns
        self.counts["failovers"] += 1

    def go_back(self, place: int) -> None:
        """Let a better place that has proved itself carry the mirror."""
        assert place in self.better
        self.active = place
        self._failing_since = None
        self.counts["failbacks"] += 1
