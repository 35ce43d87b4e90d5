"""The receiver's SQLite file: bounds, versions, and what a report says of it."""

from __future__ import annotations

import sqlite3

import pytest

from gateway.errors import StoreError
from gateway.region import store, watermarks
from gateway.region.intake import Message
from gateway.region.watermarks import Watermarks
from tests.support.receiving import Region, gap, sent, sent_gap
from tests.support.spooled import readings_of


@pytest.fixture
def region(tmp_path):
    with Region(tmp_path / "state") as made:
        yield made


def test_dead_letters_are_bounded_and_their_count_is_not(region, monkeypatch) -> None:
    monkeypatch.setattr(store, "DEAD_LETTERS_MAX", 5)
    monkeypatch.setattr(store, "DEAD_LETTER_BYTES_MAX", 3)
    region.take(*(Message("t", b"%06d" % number) for number in range(12)))
    assert region.rows("SELECT payload, bytes FROM dead_letter") == [(b"000", 6)] * 5
    assert region.report().rejected == {"no_batch": 12}


def test_hashes_are_bounded_and_older_batches_stay_known(region, monkeypatch) -> None:
    monkeypatch.setattr(store, "HASHES_MAX", 4)
    region.take(*(sent(sequence) for sequence in range(1, 11)))
    assert region.rows("SELECT count(*) FROM hash") == [(4,)]
    assert region.take(sent(1), sent(10)).decided == {"duplicate": 2}
    assert region.take(sent(10, salt=0.5)).decided["fork"] == 1


def test_losses_are_bounded_and_what_is_forgotten_of_them_stays_counted(region, monkeypatch) -> None:
    monkeypatch.setattr(store, "LOSSES_MAX", 2)
    region.take(*(sent_gap(gap(first, first)) for first in (2, 4, 6, 8)))
    assert region.rows("SELECT first FROM loss") == [(6,), (8,)]
    assert region.lane().lost == {"evicted": sum(map(readings_of, (2, 4, 6, 8)))}
    assert region.take(sent(2)).decided == {"duplicate": 1}
    assert region.take(sent(8)).decided == {"recovered": 1}


def test_a_file_of_another_schema_version_is_not_touched(tmp_path) -> None:
    with sqlite3.connect(tmp_path / watermarks.FILE_NAME) as database:
        database.execute("PRAGMA user_version = 99")
    database.close()
    for _ in range(2):
        with pytest.raises(StoreError, match="schema version 99"):
            Watermarks(tmp_path)


def test_a_report_without_a_store_says_so(tmp_path) -> None:
    with pytest.raises(StoreError, match="cannot read"):
        watermarks.report(tmp_path)


def test_a_file_that_is_no_database_is_reported(tmp_path) -> None:
    path = tmp_path / watermarks.FILE_NAME
    path.write_bytes(b"no database" * 1000)
    with pytest.raises(StoreError, match="cannot open"):
        Watermarks(tmp_path)
    path.unlink()
    path.mkdir()
    with pytest.raises(StoreError, match="cannot open"):
        Watermarks(tmp_path)


def test_a_report_of_a_receiver_that_took_nothing_balances(region) -> None:
    report = region.report()
    assert (report.lanes, report.rejected, report.unaccounted) == ([], {}, 0)


def test_the_stored_watermark_is_the_one_that_is_reported(region) -> None:
    region.take(sent(1), sent(2), sent(5))
    assert region.rows("SELECT watermark FROM watermark") == [(2,)]
    assert region.lane().watermark == 2
    region.take(sent(4, 300), sent(3, 200), sent(6, 400))
    region.take(sent(7, 400))
    reported = [(lane.epoch, lane.watermark) for lane in region.report().lanes]
    assert region.rows("SELECT epoch, watermark FROM watermark") == reported
    assert reported == [(100, 2), (200, 3), (300, 4), (400, 7)]
