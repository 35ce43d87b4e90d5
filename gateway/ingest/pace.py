"""How long a message may wait for its group commit, so that a trickle of messages does not write a page of flash each.

A commit writes whole pages. The interval is the time in which the journal lately grew by one page: at a high rate that
is short and `commit_interval` holds, at a low rate it is long and `commit_interval_max` holds. A message for a lane
that lingers less than that never waits longer than its lane would let it.
"""

from __future__ import annotations

from typing import Final

from gateway.disk import PAGE_BYTES

_MEMORY_S: Final = 2.0
"""Time over which the growth of the journal is looked at."""


class Pace:
    """`interval_s` is the wait of a group that begins now, `is_slow` whether it is longer than the shortest."""

    def __init__(self, shortest_s: float, longest_s: float) -> None:
        self._shortest_s = shortest_s
        self._longest_s = max(shortest_s, longest_s)
        self._total = 0
        self._looked_at = 0.0
        # At a start nothing is known of the rate: two slow seconds cost less than a page for each message.
        self.interval_s = self._longest_s

    @property
    def is_slow(self) -> bool:
        """Whether messages wait longer than they would at a high rate."""
        return self.interval_s > self._shortest_s

    def looked(self, total: int, now: float) -> None:
        """Note that the journal has grown to `total` bytes since the start, at `now` in seconds."""
        elapsed = now - self._looked_at
        if elapsed < _MEMORY_S:
            return
        grown, self._total = total - self._total, total
        is_first, self._looked_at = self._looked_at == 0.0, now
        if not is_first:
            wanted_s = elapsed * PAGE_BYTES / grown if grown > 0 else self._longest_s
            self.interval_s = min(max(wanted_s, self._shortest_s), self._longest_s)
