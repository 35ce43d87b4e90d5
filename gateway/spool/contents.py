"""What one lane holds, as readers see it: records on disk, batches not yet synced, and ranges that are gone.

Values only; whoever calls holds the lane's lock. Records and ranges never overlap, and cover every sequence from the
lowest that a region may ask for up to `head`.
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import pairwise
from operator import attrgetter
from typing import TYPE_CHECKING

from gateway.spool import books as book
from gateway.spool.format import ORIGIN, Position, Record

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.model import Gap, SealedBatch
    from gateway.spool.books import LaneBooks, Range
    from gateway.spool.segment import Segment

_first = attrgetter("first")


class Contents:
    """`head` is the place after the last batch stored, `unsynced` the batches that may not be durable yet."""

    def __init__(self, node: str, lane: str, books: LaneBooks, report: list[str]) -> None:
        self.node = node
        self.lane = lane
        self.report = report
        self.books = books
        self.segments: list[Segment] = []
        self.unsynced: dict[int, tuple[SealedBatch, Record]] = {}
        self.head = ORIGIN
        self.hidden_from: int | None = None

    @property
    def visible(self) -> int:
        """The last sequence that readers may have now.

        While a coarser batch takes the place of others, neither it nor they are to be had: no region gets both.
        """
        return self.head.sequence if self.hidden_from is None else self.hidden_from - 1

    def adopt(self, segments: list[Segment], known: list[Position]) -> None:
        """Take up what was found on disk; whatever neither a record nor a range covers becomes a range.

        `known` are the places of the regions that have cursors in this lane.
        """
        for left, right in self.take_up(segments, known):
            self.note_hole(left, right)

    def take_up(self, segments: list[Segment], known: list[Position]) -> list[tuple[Position, Position]]:
        """Take up what was found on disk, and return the places around each run that nothing covers."""
        self.segments = segments
        self._drop_lost()
        items = [item for segment in segments for item in _runs(segment)]
        items += [
            (lost.first, Position(lost.first - 1, lost.epoch, lost.readings_before), lost.position)
            for lost in self.books.ranges
        ]
        items += [(mark.sequence + 1, mark, mark) for mark in (self.books.floor, self.books.durable) if mark.sequence]
        self.head = max((after for _, _, after in items), default=ORIGIN)
        if known:
            lowest = min(known)
            items = [item for item in items if item[2] > lowest] + [(lowest.sequence + 1, lowest, lowest)]
        if segments and segments[-1].first > self.head.sequence + 1:
            self.head = self.head._replace(sequence=segments[-1].first - 1)
        return book.holes(sorted(items))

    def _drop_lost(self) -> None:
        """Forget records that are in a range: their bytes may be there still or again, but told is told."""
        for lost in self.books.ranges:
            index = max(0, bisect_right(self.segments, lost.first, key=_first) - 1)
            while index < len(self.segments) and self.segments[index].first <= lost.last:
                self.segments[index].table.drop(lost.first, lost.last)
                index += 1

    def find(self, sequence: int) -> tuple[Segment, Record] | None:
        """Return where a batch lies."""
        index = bisect_right(self.segments, sequence, key=_first) - 1
        record = self.segments[index].table.find(sequence) if index >= 0 else None
        return (self.segments[index], record) if record else None

    def gap(self, sequence: int) -> Gap:
        """Return the gap that covers a sequence, up to the head, that is no record."""
        lost = self.books.covering(sequence)
        if lost is None:
            # Every region has passed it: all that is known is where what is left begins.
            lost = book.between(ORIGIN, self.lowest(), book.EVICTED)
        return lost.gap(self.node, self.lane)

    def oldest(self) -> Position:
        """Return the place before the oldest record; the head when there is none."""
        for segment in self.segments:
            if len(segment.table):
                first = segment.table[0]
                return Position(first.sequence - 1, first.epoch, first.readings_before)
        if self.unsynced:
            _, first = self.unsynced[min(self.unsynced)]
            return Position(first.sequence - 1, first.epoch, first.readings_before)
        return self.head

    def lowest(self) -> Position:
        """Return the place before the oldest record or range."""
        oldest = self.oldest()
        if self.books.ranges and self.books.ranges[0].first <= oldest.sequence:
            lost = self.books.ranges[0]
            return Position(lost.first - 1, lost.epoch, lost.readings_before)
        return oldest

    def place_of(self, sequence: int) -> Position:
        """Return the place after `sequence`; its readings are -1 where they are not known any more."""
        if sequence in self.unsynced:
            return self.unsynced[sequence][1].position
        found = self.find(sequence)
        if found is not None:
            return found[1].position
        if sequence == self.books.floor.sequence:
            return self.books.floor
        lost = self.books.covering(sequence)
        if lost is None:
            return Position(sequence, self.head.epoch, -1)
        return lost.position if lost.last == sequence else Position(sequence, lost.epoch, -1)

    def end_of(self, index: int) -> int:
        """Return the last sequence that may be in a segment."""
        if index + 1 < len(self.segments):
            return self.segments[index + 1].first - 1
        return self.head.sequence

    def note_hole(self, left: Position, right: Position) -> None:
        """Put the batches after `left`, up to and including `right`, into the books."""
        was_freed = right.sequence <= self.books.floor.sequence
        lost = book.between(left, right, book.EVICTED if was_freed else book.DAMAGED)
        self._take(lost)
        what = f"batches {lost.first} to {lost.last} with {lost.readings} readings"
        self.report.append(f"lane {self.lane}: {what} are {'gone' if was_freed else 'damaged'}")

    def lose(self, segment: Segment, record: Record) -> None:
        """Put one record that cannot be read into the books."""
        segment.table.drop(record.sequence, record.sequence)
        before = Position(record.sequence - 1, record.epoch, record.readings_before)
        self._take(book.between(before, record.position, book.DAMAGED))
        self.report.append(
            f"lane {self.lane}: batch {record.sequence} with {record.readings} readings cannot be read any more"
        )

    def drop_oldest(self, lowest: int | None, lowest_required: int | None, reason: str) -> Segment:
        """Take the oldest segment out of reach; its batches beyond `lowest` become ranges.

        Those beyond `lowest_required` have the `reason`; for the others only optional regions waited. None: there is no
        region to wait for.
        """
        segment = self.segments.pop(0)
        for record in segment.table:
            if lowest is not None and record.sequence > lowest:
                is_waited_for = lowest_required is not None and record.sequence > lowest_required
                self.give_up(record, reason if is_waited_for else book.LAGGED)
        self.books.floor = max(self.oldest(), self.books.floor)
        if lowest is not None:
            self.books.forget(lowest)
        return segment

    def beyond(self, sequence: int) -> tuple[int, int]:
        """Return how many batches and readings are stored beyond `sequence`."""
        sums = [segment.table.after(sequence) for segment in self.segments]
        # After a fault, batches are for a moment in memory only.
        sums += [
            (1, record.readings)
            for number, (_, record) in self.unsynced.items()
            if number > sequence and self.find(number) is None
        ]
        return sum(batches for batches, _ in sums), sum(readings for _, readings in sums)

    def bytes_beyond(self, sequence: int) -> int:
        """Return how many bytes on disk the batches stored beyond `sequence` take."""
        size = 0
        for segment in reversed(self.segments):
            if segment.first <= sequence:
                first = next(segment.table.between(sequence + 1, segment.table.last), None)
                return size if first is None else size + segment.end - first.offset
            size += segment.end
        return size

    def lost_beyond(self, sequence: int) -> tuple[int, int]:
        """Return how many batches and readings are in ranges that end beyond `sequence`."""
        ranges = [lost for lost in self.books.ranges if lost.last > sequence]
        batches = sum(lost.last - max(lost.first - 1, sequence) for lost in ranges)
        return batches, sum(lost.readings for lost in ranges)

    def give_up(self, record: Record, reason: str) -> None:
        """Put one record into the books; it is still in its table."""
        before = Position(record.sequence - 1, record.epoch, record.readings_before)
        self.books.count(reason, 1, record.readings)
        self.books.add(book.between(before, record.position, reason))

    def _take(self, lost: Range) -> None:
        self.books.add(lost)
        if lost.reason == book.DAMAGED:
            self.books.count(book.DAMAGED, lost.last - lost.first + 1, lost.readings)


def _runs(segment: Segment) -> Iterator[tuple[int, Position, Position]]:
    """Yield (first sequence, place before, place after) of each run without a hole."""
    table = segment.table
    if not len(table):
        return
    starts = [0]
    if table[-1].sequence - table[0].sequence >= len(table):
        starts += [index + 1 for index, (one, two) in enumerate(pairwise(table)) if two.sequence > one.sequence + 1]
    for start, end in pairwise([*starts, len(table)]):
        first = table[start]
        yield first.sequence, Position(first.sequence - 1, first.epoch, first.readings_before), table[end - 1].position
