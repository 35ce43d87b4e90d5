"""The batches and gaps of a spool that was inspected, in order, read from the files as they are.

A batch whose file was freed since the inspection is passed over: every region has it. One that does not validate any
more is told as a gap.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

from gateway.batch import envelope
from gateway.errors import BatchError, StoreError
from gateway.model import BatchId, SealedBatch
from gateway.spool import books as book
from gateway.spool.books import Range

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.disk import Disk
    from gateway.model import Gap
    from gateway.spool.contents import Contents
    from gateway.spool.findings import Inspection
    from gateway.spool.format import Record
    from gateway.spool.segment import Segment


def node_of(disk: Disk, found: Inspection) -> str:
    """Return the node whose batches these are, by the newest of some lane; empty when no batch can be read."""
    for contents in found.contents.values():
        for segment in reversed(contents.segments):
            for record in reversed(list(segment.table)):
                try:
                    loaded = segment.load(disk, record)
                    if loaded is not None:
                        return envelope.peek(loaded[1]).id.node
                except (BatchError, StoreError):
                    continue
    return ""


def stored(disk: Disk, contents: Contents, node: str, first: int, last: int) -> Iterator[SealedBatch | Gap]:
    """Yield what is stored of sequences `first` to `last` in a lane, and the gaps that touch them."""
    for one in _items(contents, first, last):
        if isinstance(one, Range):
            yield one.gap(node, contents.lane)
            continue
        segment, record = one
        try:
            loaded = segment.load(disk, record)
        except StoreError as error:
            if error.facts.get("errno") == "ENOENT":
                continue
            loaded = None
        if loaded is None:
            before = record.position._replace(sequence=record.sequence - 1, readings=record.readings_before)
            yield book.between(before, record.position, book.DAMAGED).gap(node, contents.lane)
            continue
        stamp, data = loaded
        yield SealedBatch(BatchId(node, contents.lane, stamp.epoch, record.sequence), record.readings, stamp.hash, data)


def _items(contents: Contents, first: int, last: int) -> Iterator[tuple[Segment, Record] | Range]:
    """Yield records and ranges in order; they never overlap."""
    ranges = [lost for lost in contents.books.ranges if lost.first <= last and lost.last >= first]
    records = chain.from_iterable(
        ((segment, record) for record in segment.table.between(first, last)) for segment in contents.segments
    )
    for segment, record in records:
        while ranges and ranges[0].first < record.sequence:
            yield ranges.pop(0)
        yield segment, record
    yield from ranges
