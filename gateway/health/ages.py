"""How old is what a region has not, and how long what it has took: from the sensor's message to the region's word.

Pure. A batch is as old as the first of its rows: its time begins with the commit of the message that brought it (or
with the window that gave it out), and ends when the region's cursor passes it. So every value is the worst of its
batch, and what waits behind a hole waits with it. One value per batch and region.

Known are the batches of this run. When more than `KNOWN_MAX` of a lane wait, every second of the older half is
forgotten: ages stay right within the neighbours, and only the batches that are known are counted. What was sealed
before the start is dated by whoever reads it from the ring (`date`). Times are nanoseconds on the node's own timeline.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Final

from gateway.health.histogram import DELIVERY_S, Histogram

KNOWN_MAX: Final = 4096
_NS: Final = 10**9


class _Lane:
    """Sequences, rising, and when the first row of each came."""

    __slots__ = ("came_at", "sequences")

    def __init__(self) -> None:
        self.sequences: list[int] = []
        self.came_at: list[int] = []

    def thin(self) -> None:
        half = len(self.sequences) // 2
        del self.sequences[1:half:2], self.came_at[1:half:2]


class Ages:
    """What is known of the batches of all lanes."""

    def __init__(self) -> None:
        self._lanes: dict[str, _Lane] = {}
        self._cursors: dict[tuple[str, str], int] = {}
        self._dated: dict[tuple[str, str], tuple[int, int]] = {}
        self.delivery: dict[str, dict[str, Histogram]] = {}
        """By region and lane."""

    def begin(self, region: str, lane: str, cursor: int) -> None:
        """Let a region's lane be known from where it stands."""
        if (region, lane) not in self._cursors:
            self._cursors[region, lane] = cursor
            self.delivery.setdefault(region, {})[lane] = Histogram(DELIVERY_S)

    def sealed(self, lane: str, sequence: int, came_at: int) -> None:
        """Note a new batch, whose first row came at `came_at`."""
        known = self._lanes.setdefault(lane, _Lane())
        if known.sequences and sequence <= known.sequences[-1]:
            return
        known.sequences.append(sequence)
        known.came_at.append(came_at)
        if len(known.sequences) > KNOWN_MAX:
            self._forget(lane, known)

    def acknowledged(self, region: str, lane: str, cursor: int, now: int) -> None:
        """Count what a region has since its cursor moved to `cursor`."""
        self.begin(region, lane, 0)
        before = self._cursors[region, lane]
        self._cursors[region, lane] = max(before, cursor)
        known = self._lanes.get(lane)
        if known is None:
            return
        histogram = self.delivery[region][lane]
        for index in range(bisect_right(known.sequences, before), bisect_right(known.sequences, cursor)):
            histogram.observe((now - known.came_at[index]) / _NS)

    def undated(self, region: str, lane: str, head: int) -> int | None:
        """Return the sequence of the oldest batch that a region waits for, if nobody knows how old it is."""
        first = self._cursors.get((region, lane), 0) + 1
        known = self._lanes.get(lane)
        is_known = known is not None and known.sequences and known.sequences[0] <= first
        dated = self._dated.get((region, lane))
        return None if first > head or is_known or (dated is not None and dated[0] == first) else first

    def date(self, region: str, lane: str, sequence: int, came_at: int) -> None:
        """Say when a batch of before the start came."""
        self._dated[region, lane] = sequence, came_at

    def oldest_s(self, region: str, lane: str, head: int, now: int) -> float:
        """Return the age of the oldest batch that a region has not, in seconds; 0 when it has all up to `head`."""
        first = self._cursors.get((region, lane), 0) + 1
        if first > head:
            return 0.0
        known = self._lanes.get(lane)
        dated = self._dated.get((region, lane))
        if known is not None and known.sequences and known.sequences[0] <= first:
            came_at = known.came_at[bisect_right(known.sequences, first) - 1]
        elif dated is not None:
            came_at = dated[1]
        elif known is not None and known.came_at:
            came_at = known.came_at[0]
        else:
            return 0.0
        return max(0.0, (now - came_at) / _NS)

    def _forget(self, lane: str, known: _Lane) -> None:
        """Make room: what every region has goes first."""
        passed = min((at for (_, of), at in self._cursors.items() if of == lane), default=known.sequences[-1])
        end = bisect_right(known.sequences, passed)
        del known.sequences[:end], known.came_at[:end]
        if len(known.sequences) > KNOWN_MAX // 2:
            known.thin()
