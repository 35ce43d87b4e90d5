"""The promise of the receiver: whatever the order, the repetitions and the restarts, the same end, with 0 unaccounted.

One ring is made up: an old epoch up to some sequence, a newer one from the next on, and some batches declared lost,
rightly or too early. It is sent in every way that hypothesis finds, through the real intake, store and sinks.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from hypothesis import given, settings

from tests.support.receiving import Region
from tests.support.sending import LAST, OLD, Sending, sendings, sent_one
from tests.support.spooled import readings_of

if TYPE_CHECKING:
    from gateway.region.intake import Message
    from gateway.region.reconcile import LaneReport


def receive(region: Region, sending: Sending) -> None:
    group: list[Message] = []
    for number, what in enumerate(sending.order):
        group.append(sent_one(sending.ring, what))
        if number in sending.cuts:
            region.take(*group)
            group.clear()
            if number in sending.restarts:
                region.restart()
    if group:
        region.take(*group)


def check_lane(lane: LaneReport, sending: Sending, *, is_oldest: bool) -> None:
    """Hold the report of one epoch against what was sent of it."""
    ring = sending.ring
    numbers = set(range(1, ring.end + 1) if lane.epoch == OLD else range(ring.end + 1, LAST + 1))
    received = sending.batches & numbers
    lost = {number for first, last in sending.gaps for number in range(first, last + 1)} & numbers - received
    assert lane.batches == len(received)
    assert lane.received == sum(map(readings_of, received))
    assert sum(lane.lost.values()) == sum(map(readings_of, lost))
    heard = sorted(received | lost)
    begin = 0 if is_oldest and heard[0] > 1 else ring.before(heard[0])
    assert lane.highest == heard[-1]
    assert lane.expected == ring.before(heard[-1]) + readings_of(heard[-1]) - begin
    assert lane.missing == lane.expected - sum(map(readings_of, heard))


@settings(max_examples=60, deadline=None)
@given(sending=sendings())
def test_any_order_with_any_repetition_comes_to_the_same_end(sending) -> None:
    with tempfile.TemporaryDirectory() as folder, Region(Path(folder)) as region:
        receive(region, sending)
        report = region.report()
        assert (report.rejected, report.unaccounted) == ({}, 0)
        for number, lane in enumerate(report.lanes):
            check_lane(lane, sending, is_oldest=number == 0)
        expected = sorted(
            ("plant/a", "value", time_ns, float(number))
            for number in sending.batches
            for time_ns in range(readings_of(number))
        )
        assert region.rows() == expected
        assert region.lines_as_rows() == expected
