"""Pages that reach the medium are counted by purpose; the forecast is arithmetic."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.disk import PAGE_BYTES, Disk
from gateway.flash import Flash, years


def test_pages_are_counted_when_they_are_synced_and_appends_to_one_page_once(tmp_path: Path) -> None:
    disk = Disk()
    for name in ("journal", "spool"):
        (tmp_path / name).mkdir()
        disk.name_folder(tmp_path / name, name)
    handle = disk.open(tmp_path / "journal" / "a", create=True)
    for offset in range(0, 400, 100):
        disk.write(handle, bytes(100), offset)
    assert disk.written == {"journal": 0, "spool": 0}
    disk.sync(handle)
    assert disk.written["journal"] == PAGE_BYTES
    disk.sync(handle)
    assert disk.written["journal"] == PAGE_BYTES
    disk.write(handle, bytes(100), 400)
    disk.sync(handle)
    assert disk.written["journal"] == 2 * PAGE_BYTES, "the same page again, for another sync"
    disk.write(handle, bytes(PAGE_BYTES), 2 * PAGE_BYTES - 1)
    disk.sync(handle)
    assert disk.written["journal"] == 4 * PAGE_BYTES
    disk.close(handle)
    (tmp_path / "spool" / "lanes").mkdir()
    disk.replace(tmp_path / "spool" / "lanes" / "b", bytes(10))
    disk.replace(tmp_path / "c", bytes(10))
    assert disk.written == {"journal": 4 * PAGE_BYTES, "spool": PAGE_BYTES}


def test_the_status_says_what_a_byte_of_payload_costs(tmp_path: Path) -> None:
    disk = Disk()
    disk.name_folder(tmp_path, "spool")
    flash = Flash(disk, tmp_path, 1.0)
    disk.replace(tmp_path / "a", bytes(3 * PAGE_BYTES))
    status = flash.status(4 * PAGE_BYTES, 10.0)
    assert status["bytes"] == {"spool": 3 * PAGE_BYTES}
    assert status["per_payload_byte"] == 0.75
    assert status["endurance_years"] is None, "ten seconds tell nothing"
    assert status["process_bytes"] >= 3 * PAGE_BYTES  # type: ignore[operator]


@pytest.mark.parametrize(
    ("endurance", "written", "seconds", "expected"),
    [(1e12, 10**9, 86400.0, 2.7), (0.0, 10**9, 86400.0, None), (1e12, 0, 86400.0, None), (1e12, 10**9, 59.0, None)],
)
def test_years_are_endurance_over_the_rate_of_writing(endurance, written, seconds, expected) -> None:
    assert years(endurance, written, seconds) == expected
