"""Messages kept aside: bounded, once each, and never a reason to stop."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from gateway import quarantine as module
from gateway.model import Quarantined
from gateway.quarantine import Quarantine


def message(key: int) -> Quarantined:
    """Return a message whose payload no text decoder would take."""
    return Quarantined(key, 10 + key, "plant/a", b"\xff\x00", "route", "not_json", "byte 0")


def rows(path: Path) -> list[tuple[int, bytes, str]]:
    """Return what the file holds."""
    with sqlite3.connect(path) as database:
        return database.execute("SELECT key, payload, reason FROM message ORDER BY key").fetchall()


def test_a_message_kept_again_by_a_replay_is_there_once(tmp_path: Path) -> None:
    path = tmp_path / "q.sqlite"
    for _ in range(2):
        kept = Quarantine(path)
        kept.keep([message(1), message(2)])
        kept.close()
    assert rows(path) == [(1, b"\xff\x00", "not_json"), (2, b"\xff\x00", "not_json")]


def test_only_the_newest_rows_are_kept(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(module, "ROWS_MAX", 10)
    kept = Quarantine(tmp_path / "q.sqlite")
    for start in range(0, 2000, 50):
        kept.keep([message(key) for key in range(start, start + 50)])
    kept.close()
    found = rows(tmp_path / "q.sqlite")
    assert found[-1][0] == 1999
    assert len(found) <= 10 + module._TRIM_EVERY + 50
    assert kept.counts["kept"] == 2000


def test_a_damaged_file_is_moved_aside_and_a_new_one_begun(tmp_path: Path) -> None:
    path = tmp_path / "q.sqlite"
    path.write_bytes(b"this is no database" * 100)
    kept = Quarantine(path)
    kept.keep([message(1)])
    kept.close()
    assert len(rows(path)) == 1
    assert (tmp_path / "q.sqlite.damaged").read_bytes().startswith(b"this is no database")


def test_a_table_that_cannot_be_written_is_counted_and_stops_nothing(tmp_path: Path) -> None:
    kept = Quarantine(tmp_path / "q.sqlite")
    with sqlite3.connect(tmp_path / "q.sqlite") as database:
        database.executescript("DROP TABLE message; CREATE VIEW message AS SELECT 1 AS key")
    kept.keep([message(1)])
    assert kept.counts["unkept"] == 1
    kept.close()


def test_a_file_that_cannot_be_opened_stops_nothing_and_is_not_taken_for_damaged(tmp_path: Path) -> None:
    path = tmp_path / "gone" / "q.sqlite"
    kept = Quarantine(path)
    kept.keep([message(1), message(2)])
    assert kept.counts == {"kept": 0, "unkept": 2, "evicted": 0}
    path.parent.mkdir()
    kept.keep([message(3)])
    kept.close()
    assert [key for key, _, _ in rows(path)] == [3]
    assert not list(path.parent.glob("*.damaged"))
