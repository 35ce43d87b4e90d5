"""A region takes coarser batches like any others, and its counts of both lanes come out even."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from gateway.batch import envelope, thin
from gateway.batch.decode import DecodedBatch, decode
from gateway.model import BatchId, OpenBatch, Thinned
from tests.support.receiving import Region, gap, message, sent_gap
from tests.support.spooled import batch, readings_between

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.model import SealedBatch

S = 10**9


def coarse() -> tuple[SealedBatch, thin.Coarse]:
    """Return what takes the place of batches 1 to 3."""
    sources = [decode(batch(sequence).data) for sequence in (1, 2, 3)]
    whole = [one for one in sources if isinstance(one, DecodedBatch)]
    found = thin.coarsened(whole, 3600 * S)
    mark = Thinned(3600 * S, "telemetry", 1, 3, found.originals, 3)
    identity = BatchId("node", "telemetry.thin1", 100, 1)
    ledger = {"reading.thinned": found.originals}
    return envelope.seal(OpenBatch(identity, found.rows, found.readings, 0, ledger, 3, 2, mark), "boot"), found


def test_coarser_readings_are_written_as_fields_by_every_sink(tmp_path: Path) -> None:
    sealed, found = coarse()
    with Region(tmp_path) as region:
        outcome = region.take(message(sealed), message(sealed))
        assert outcome.readings == found.readings
        expected = sorted(
            (topic, name, time_ns, value)
            for topic, (times, entries) in found.rows.items()
            for time_ns, row in zip(times, entries, strict=True)
            for name, value in row.items()
        )
        assert region.rows() == expected
        assert region.lines_as_rows() == expected
        counts = region.rows("SELECT sum(value) FROM reading WHERE field LIKE '%.count'")
        assert counts == [(readings_between(1, 3),)]


def test_what_was_thinned_is_known_by_its_gap_and_nothing_is_unaccounted(tmp_path: Path) -> None:
    sealed, found = coarse()
    lost = replace(gap(1, 3), reason="thinned")
    with Region(tmp_path) as region:
        region.take(sent_gap(lost), message(batch(4)), message(sealed))
        report = region.report()
        assert report.unaccounted == 0
        base, level = sorted(report.lanes, key=lambda lane: lane.lane)
        assert (base.lane, base.lost, base.missing) == ("telemetry", {"thinned": found.originals}, 0)
        assert (level.lane, level.received, level.missing) == ("telemetry.thin1", found.readings, 0)
        assert level.ledger == {"reading.thinned": found.originals}
