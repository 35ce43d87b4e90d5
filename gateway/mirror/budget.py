"""What a region's line may carry: bytes a second, a day, a month. Pure.

Bytes are those of the line as far as it tells, overhead and resends included. The rate is a debt: a message goes when
nothing is owed and its bytes are owed afterwards, so a batch larger than a second's share waits no longer than it must.
Days and months are those of UTC. Usage survives a restart (`spent`); a clock that is not set, or steps back, never
gives a day anew that was counted already.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from gateway.config import schema

_NS = 10**9


class Spent(msgspec.Struct):
    """Bytes of one day and one month, and of that month by lane; "" is what belongs to no lane, such as pings."""

    day: str = ""
    day_bytes: int = 0
    month: str = ""
    month_bytes: int = 0
    lanes: dict[str, int] = msgspec.field(default_factory=dict)


class Budget:
    """The account of one region."""

    def __init__(self, options: schema.Link, spent: Spent) -> None:
        self._options = options
        self._free_at_ns = 0
        self.spent = spent

    def look(self, wall_ns: int, *, is_trusted: bool) -> None:
        """Begin a new day or month when it has come; one that lies before the one counted only if `is_trusted`."""
        today = dt.datetime.fromtimestamp(wall_ns // _NS, dt.UTC).date().isoformat()
        spent = self.spent
        if today > spent.day or (is_trusted and today != spent.day):
            spent.day, spent.day_bytes = today, 0
        if today[:7] > spent.month or (is_trusted and today[:7] != spent.month):
            spent.month, spent.month_bytes, spent.lanes = today[:7], 0, {}

    def spend(self, lane: str, size: int, now_ns: int) -> None:
        """Note that `size` bytes of a lane went over the line at `now_ns`, of a clock that does not step."""
        spent = self.spent
        spent.day_bytes += size
        spent.month_bytes += size
        spent.lanes[lane] = spent.lanes.get(lane, 0) + size
        if self._options.bytes_per_second:
            self._free_at_ns = max(self._free_at_ns, now_ns) + size * _NS // self._options.bytes_per_second

    def wait_ns(self, now_ns: int) -> int:
        """Return how long nothing may be sent, for the rate's sake."""
        return max(0, self._free_at_ns - now_ns)

    @property
    def is_spent(self) -> bool:
        """Whether the day or the month has had all its bytes."""
        options, spent = self._options, self.spent
        return 0 < options.bytes_per_day <= spent.day_bytes or 0 < options.bytes_per_month <= spent.month_bytes
