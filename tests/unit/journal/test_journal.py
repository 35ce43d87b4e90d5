"""The journal gives back what was committed, and says exactly what it cannot give back."""

from __future__ import annotations

import errno
import random
from pathlib import Path

import pytest
from google_crc32c import value as crc32c
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.config import schema
from gateway.disk import Disk
from gateway.errors import StoreError
from gateway.journal import format as layout
from gateway.journal import replay
from gateway.journal.writer import JournalWriter
from gateway.model import Entry, MessageGroup, Tick
from tests.support.faultdisk import FaultDisk

OPTIONS = schema.Journal(segment_bytes=64 * 1024)
JOURNAL = Path("/journal")


def group(number: int, messages: int = 3, payload: bytes = b"payload") -> MessageGroup:
    """Return a group that tells itself apart from others by `number`."""
    return MessageGroup(
        number,
        number,
        2,
        1,
        False,
        [f"plant/{index}" for index in range(messages)],
        [payload + str(number).encode()] * messages,
        list(range(1, messages + 1)),
        [4] * messages,
        {"qos0_overflow": number} if number % 2 else {},
    )


def replayed(folder: Path, start: int = 0) -> tuple[list[tuple[int, Entry]], replay.Report]:
    """Return what a replay from `start` gives, with its report."""
    report = replay.Report()
    return list(replay.entries(Disk(), folder, start, report)), report


def journal(folder: Path, commits: int, disk: Disk | None = None) -> list[Entry]:
    """Write a journal of one start with `commits` commits, the last entry a tick, and return its entries."""
    writer = JournalWriter(disk or Disk(), folder, OPTIONS, 0)
    entries: list[Entry] = [group(number) for number in range(commits - 1)]
    entries.append(Tick(5, 5, 1))
    for entry in entries:
        writer.commit([entry])
    writer.close()
    return entries


def test_what_was_committed_comes_back_in_order(tmp_path: Path) -> None:
    entries = journal(tmp_path, 5)
    found, report = replayed(tmp_path)
    assert found == list(enumerate(entries))
    assert (report.next_position, report.entries, report.messages) == (5, 5, 12)
    assert not report.damaged
    assert report.notes == []


def test_a_replay_begins_at_the_position_asked_for(tmp_path: Path) -> None:
    entries = journal(tmp_path, 6)
    found, report = replayed(tmp_path, 4)
    assert found == [(4, entries[4]), (5, entries[5])]
    assert report.next_position == 6


def test_positions_go_on_over_starts_and_over_files(tmp_path: Path) -> None:
    chance = random.Random(1)
    entries: list[Entry] = []
    for _ in range(3):
        writer = JournalWriter(Disk(), tmp_path, OPTIONS, len(entries))
        for _ in range(20):
            entry = group(len(entries), payload=chance.randbytes(3000))
            assert writer.commit([entry]) == len(entries)
            entries.append(entry)
        writer.close()
    assert len(list(tmp_path.iterdir())) == 3
    found, report = replayed(tmp_path)
    assert [entry for _, entry in found] == entries
    assert not report.damaged


def test_a_file_cut_anywhere_gives_the_commits_before_the_cut(tmp_path: Path) -> None:
    entries = journal(tmp_path, 4)
    path = next(tmp_path.iterdir())
    data = path.read_bytes()
    for cut in range(0, len(data.rstrip(b"\0")) + 16, 5):
        path.write_bytes(data[:cut])
        found, report = replayed(tmp_path)
        assert [entry for _, entry in found] == entries[: len(found)], cut
        assert report.next_position == len(found)
        assert report.damaged == (cut < layout.FILE_HEADER_BYTES), cut


def test_each_flipped_byte_costs_at_most_its_own_commit_and_is_reported(tmp_path: Path) -> None:
    entries = journal(tmp_path, 4)
    path = next(tmp_path.iterdir())
    data = path.read_bytes()
    used = len(data.rstrip(b"\0"))
    for offset in range(used):
        path.write_bytes(data[:offset] + bytes([data[offset] ^ 0x5A]) + data[offset + 1 :])
        found, report = replayed(tmp_path)
        positions = [position for position, _ in found]
        assert all(entries[position] == entry for position, entry in found), offset
        if offset < layout.FILE_HEADER_BYTES:
            assert report.damaged, offset
            continue
        assert len(found) >= len(entries) - 1, offset
        if len(found) < len(entries):
            assert report.notes, offset
            assert report.damaged == (positions[-1:] == [3]), offset


def test_stale_frames_of_another_file_never_validate(tmp_path: Path) -> None:
    journal(tmp_path / "old", 4)
    journal(tmp_path / "new", 2)
    old, new = (next((tmp_path / name).iterdir()) for name in ("old", "new"))
    data = new.read_bytes()
    used = len(data.rstrip(b"\0")) + 16
    used -= used % 16
    new.write_bytes(data[:used] + old.read_bytes()[used:])
    found, _ = replayed(tmp_path / "new")
    assert len(found) == 2


class DiskWithFaults(Disk):
    """Fails the operations whose number is in `faults`, after having done half of them."""

    def __init__(self, faults: set[int]) -> None:
        super().__init__()
        self.faults = faults
        self.operations = 0

    def _count(self) -> None:
        self.operations += 1
        if self.operations in self.faults:
            raise StoreError("fault of the test")

    def write(self, handle: int, data: bytes | memoryview, offset: int) -> None:
        """Write half when it is to fail."""
        if self.operations + 1 in self.faults:
            super().write(handle, data[: len(data) // 2], offset)
        self._count()
        super().write(handle, data, offset)

    def sync(self, handle: int) -> None:
        """Sync, or fail with the data perhaps there."""
        self._count()
        super().sync(handle)

    def allocate(self, handle: int, size: int) -> None:
        """Reserve, or fail as a full disk does."""
        self._count()
        super().allocate(handle, size)


@settings(max_examples=200, deadline=None)
@given(st.sets(st.integers(1, 60)), st.integers(1, 12))
def test_what_was_acknowledged_comes_back_once_whatever_the_disk_refuses(
    tmp_path_factory: pytest.TempPathFactory, faults: set[int], commits: int
) -> None:
    folder = tmp_path_factory.mktemp("journal")
    writer = JournalWriter(DiskWithFaults(faults), folder, OPTIONS, 0)
    acknowledged = []
    for number in range(commits):
        for _ in range(len(faults) + 1):
            try:
                position = writer.commit([group(number)])
            except StoreError:
                continue
            acknowledged.append((position, group(number)))
            break
    assert len(acknowledged) == commits
    found, report = replayed(folder)
    assert found == acknowledged
    assert not report.damaged
    writer.close()


def test_trimming_keeps_everything_from_the_position_on(tmp_path: Path) -> None:
    writer = JournalWriter(Disk(), tmp_path, OPTIONS, 0)
    chance = random.Random(2)
    entries = [group(number, payload=chance.randbytes(9000)) for number in range(30)]
    for entry in entries:
        writer.commit([entry])
    before = len(list(tmp_path.iterdir()))
    writer.trim(20)
    assert len(list(tmp_path.iterdir())) < before
    found, report = replayed(tmp_path, 20)
    assert found == list(enumerate(entries))[20:]
    assert not report.damaged
    writer.trim(30)
    writer.commit([group(30)])
    assert replayed(tmp_path, 30)[0] == [(30, group(30))]
    writer.close()


def test_a_file_that_a_failed_commit_left_is_no_room_to_be_had_by_trimming() -> None:
    # Else a full disk is answered for ever: trim, begin a file, find no room for the frame, trim.
    disk = FaultDisk()
    writer = JournalWriter(disk, JOURNAL, OPTIONS, 0)
    for number in range(2):
        writer.commit([group(number)])
    disk.fail("write", errno.ENOSPC)
    disk.fail("write", errno.ENOSPC, after=1)
    with pytest.raises(StoreError):
        writer.commit([group(2)])
    assert disk.names(JOURNAL) == [layout.file_name(0), layout.file_name(2)]
    assert writer.trim(2) == 1
    assert writer.trim(2) == 0
    assert writer.commit([group(2)]) == 2


def test_a_commit_that_finds_no_room_leaves_no_file_behind() -> None:
    disk = FaultDisk()
    disk.space = 3 * OPTIONS.segment_bytes
    writer = JournalWriter(disk, JOURNAL, OPTIONS, 0)
    large = group(0, payload=random.Random(4).randbytes(disk.space))
    for _ in range(3):
        with pytest.raises(StoreError):
            writer.commit([large])
        assert not [name for name in disk.names(JOURNAL) if name.endswith(layout.SUFFIX)]
        assert writer.trim(0) == 0
    disk.space *= 2
    assert writer.commit([large]) == 0


def test_a_missing_file_in_the_middle_is_reported_with_its_positions(tmp_path: Path) -> None:
    writer = JournalWriter(Disk(), tmp_path, OPTIONS, 0)
    chance = random.Random(3)
    for number in range(30):
        writer.commit([group(number, payload=chance.randbytes(9000))])
    writer.close()
    names = sorted(path.name for path in tmp_path.iterdir())
    (tmp_path / names[1]).unlink()
    first, after = int(names[1].split(".")[0]), int(names[2].split(".")[0])
    found, report = replayed(tmp_path)
    assert [position for position, _ in found] == [*range(first), *range(after, 30)]
    assert report.damaged
    assert report.missing == [(first, after - 1)]
    assert any(f"{after - first} entries from {first} on are missing" in note for note in report.notes)


def later_version(path: Path) -> bytes:
    """Let a journal file be one of the next version, and return its bytes."""
    data = path.read_bytes()
    head = data[:4] + (layout.VERSION + 1).to_bytes(2, "little") + data[6:44]
    data = head + crc32c(head).to_bytes(4, "little") + data[48:]
    path.write_bytes(data)
    return data


def test_a_file_of_a_later_version_is_told_and_neither_removed_nor_overwritten(tmp_path: Path) -> None:
    journal(tmp_path, 3)
    data = later_version(tmp_path / layout.file_name(0))
    report = replayed(tmp_path)[1]
    assert report.damaged
    assert report.notes == [f"{layout.file_name(0)} is of version 2, this program reads 1, {len(data)} bytes skipped"]
    writer = JournalWriter(Disk(), tmp_path, OPTIONS, report.next_position)
    writer.commit([group(0)])
    assert (tmp_path / (layout.file_name(0) + ".damaged")).read_bytes() == data
    assert [entry for _, entry in replayed(tmp_path)[0]] == [group(0)]
    later_version(tmp_path / layout.file_name(0))
    again = JournalWriter(Disk(), tmp_path, OPTIONS, 1)
    again.commit([group(1)])
    again.trim(1)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        layout.file_name(0) + ".damaged",
        layout.file_name(1),
    ]
    for one in (writer, again):
        one.close()


def test_a_file_under_a_wrong_name_is_read_in_its_place_and_never_overwritten(tmp_path: Path) -> None:
    entries = journal(tmp_path, 3)
    right, wrong = tmp_path / layout.file_name(0), tmp_path / layout.file_name(3)
    right.rename(wrong)
    assert replayed(tmp_path)[0] == list(enumerate(entries))
    writer = JournalWriter(Disk(), tmp_path, OPTIONS, 3)
    writer.commit([group(3)])
    writer.close()
    assert replayed(tmp_path)[0] == list(enumerate([*entries, group(3)]))


def test_an_older_copy_of_a_file_hides_nothing(tmp_path: Path) -> None:
    entries = journal(tmp_path, 4)
    path = tmp_path / layout.file_name(0)
    data = path.read_bytes()
    for name in (layout.file_name(9), "a" + layout.SUFFIX):
        copy = tmp_path / name
        copy.write_bytes(data[: layout.FILE_HEADER_BYTES + 400])
        found, report = replayed(tmp_path)
        assert found == list(enumerate(entries))
        assert not report.damaged
        copy.unlink()
