"""What each lane has lost and where its disk begins and ends: the spool's own ledger, durable before a file is removed.

A **range** is a run of sequences of one epoch that nobody can read any more, with its exact readings and the reason.
Ranges and the records on disk never overlap and together cover every sequence from the lowest that a region may still
ask for up to the head; so what neither covers at opening is new damage. A range is forgotten when every region has
passed it and no segment holds its place any more.

`floor` is the place up to which segments were removed; `durable` the place up to which the lane was durable when the
books were last saved. Counts are cumulative. Losing the books costs counts and ranges that can be computed again from
their neighbours, never a batch.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from gateway.model import Gap
from gateway.spool.format import ORIGIN, Position

if TYPE_CHECKING:
    from collections.abc import Iterable

EVICTED: Final = "evicted"
"""Gone to make room while a required region waited."""
DAMAGED: Final = "damaged"
"""Not readable any more."""
THINNED: Final = "thinned"
"""Made coarser: what is left of them is in the lane of the coarser batches."""
EXPIRED: Final = "expired"
"""Older than the lane allows."""
LAGGED: Final = "lagged"
"""Gone while only optional regions waited."""
REASONS: Final = (EVICTED, THINNED, EXPIRED, LAGGED, DAMAGED)


class Range(msgspec.Struct, array_like=True, frozen=True):
    """Sequences `first` to `last` of one epoch; `readings_before` counts the readings of the epoch before `first`."""

    first: int
    last: int
    epoch: int
    readings: int
    readings_before: int
    reason: str

    @property
    def position(self) -> Position:
        """The place right after the range."""
        return Position(self.last, self.epoch, self.readings_before + self.readings)

    @classmethod
    def of(cls, gap: Gap) -> Range:
        """Return the range that a gap tells of."""
        return cls(gap.first, gap.last, gap.epoch, gap.readings, gap.readings_before, gap.reason)

    def gap(self, node: str, lane: str) -> Gap:
        """Return what is told to a region."""
        return Gap(node, lane, self.epoch, self.first, self.last, self.readings, self.readings_before, self.reason)


class LaneBooks(msgspec.Struct):
    """The books of one lane; `ranges` is sorted and free of overlaps.

    What is up to and including sequence `imported` was made by another ring, see `gateway.spool.archive`.
    """

    imported: int = 0
    floor: Position = ORIGIN
    durable: Position = ORIGIN
    ranges: list[Range] = msgspec.field(default_factory=list)
    lost: dict[str, list[int]] = msgspec.field(default_factory=dict)
    """Reason → [batches, readings], cumulative."""

    def covering(self, sequence: int) -> Range | None:
        """Return the range that holds `sequence`."""
        index = bisect_left(self.ranges, sequence, key=_last)
        if index < len(self.ranges) and self.ranges[index].first <= sequence:
            return self.ranges[index]
        return None

    def add(self, lost: Range) -> None:
        """Take in a range, joined with its neighbours where they go on from each other."""
        index = bisect_left(self.ranges, lost.first, key=_last)
        assert index == len(self.ranges) or self.ranges[index].first > lost.last, "ranges overlap"
        self.ranges.insert(index, lost)
        for left in (index, index - 1):
            if 0 <= left < len(self.ranges) - 1:
                self._join(left)

    def count(self, reason: str, batches: int, readings: int) -> None:
        """Add to the cumulative counts of a reason."""
        sums = self.lost.setdefault(reason, [0, 0])
        sums[0] += batches
        sums[1] += readings

    def lost_under(self, reason: str) -> tuple[int, int]:
        """Return (batches, readings) lost for a reason so far."""
        batches, readings = self.lost.get(reason, (0, 0))
        return batches, readings

    def forget(self, sequence: int) -> None:
        """Drop the ranges that are off the disk and that the lowest cursor, `sequence`, has passed."""
        end = min(sequence, self.floor.sequence)
        self.ranges = [lost for lost in self.ranges if lost.last > end]

    def _join(self, left: int) -> None:
        one, two = self.ranges[left], self.ranges[left + 1]
        if (
            one.last + 1 == two.first
            and one.position.readings == two.readings_before
            and (one.epoch, one.reason) == (two.epoch, two.reason)
        ):
            readings = one.readings + two.readings
            joined = Range(one.first, two.last, one.epoch, readings, one.readings_before, one.reason)
            self.ranges[left : left + 2] = [joined]


class TakenIn(NamedTuple):
    """How much input was acknowledged when the books were saved: the journal's next position, and messages so far."""

    position: int
    messages: int


class Books(msgspec.Struct):
    """All that the spool knows besides its batches and cursors."""

    epoch: int = 0
    taken_in: TakenIn = TakenIn(0, 0)
    lanes: dict[str, LaneBooks] = msgspec.field(default_factory=dict)


def between(left: Position, right: Position, reason: str) -> Range:
    """Return the range after `left` up to and including `right`, with its readings as the difference of the two.

    Where an epoch ends in between, the range belongs to the newer one; if that counts its readings from 0 again, the
    last readings of the older one cannot be told.
    """
    before = left.readings if 0 <= left.readings <= right.readings else 0
    return Range(left.sequence + 1, right.sequence, right.epoch, right.readings - before, before, reason)


def holes(known: Iterable[tuple[int, Position, Position]]) -> list[tuple[Position, Position]]:
    """Return (left, right) around each run of sequences that nothing covers.

    `known` yields, in order, (first sequence, place before it, place after its last) of records and ranges.
    """
    found = []
    end: Position | None = None
    for first, before, after in known:
        if end is not None and first > end.sequence + 1:
            found.append((end, before))
        if end is None or after.sequence > end.sequence:
            end = after
    return found


def _last(lost: Range) -> int:
    return lost.last
