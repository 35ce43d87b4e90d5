"""Every damage of the journal is one finding with its place and its cost; a torn tail is none; nothing is changed."""

from __future__ import annotations

import random
from pathlib import Path

import msgspec
import pytest

from gateway import frame
from gateway.config import schema
from gateway.disk import Disk
from gateway.errors import StoreError
from gateway.journal import format as layout
from gateway.journal import frames, replay
from gateway.journal.checkpoint import CheckpointStore
from gateway.journal.inspect import DAMAGED, MISSING, TORN, UNCLEAR, WHOLE, Finding, Inspection, inspect, journal_bytes
from gateway.journal.writer import JournalWriter
from gateway.model import MessageGroup
from tests.support.journals import flip, flip_body, places

SECOND = 10**9
MESSAGES = 3
OPTIONS = schema.Journal(segment_bytes=64 * 1024)


def group(number: int, payload: bytes = b"payload") -> MessageGroup:
    columns = (["plant/a"] * MESSAGES, [payload] * MESSAGES, [1, 2, 3], [4] * MESSAGES)
    return MessageGroup(number * SECOND, number, 2, 1, False, *columns, {})


def journal(folder: Path, starts: list[int], payload: bytes = b"payload") -> list[Path]:
    """Write so many commits in each start, and return the files."""
    position = 0
    for commits in starts:
        writer = JournalWriter(Disk(), folder / "journal", OPTIONS, position)
        for _ in range(commits):
            writer.commit([group(position, payload)])
            position += 1
        writer.close()
    return sorted((folder / "journal").glob("*.log"))


def checkpoint(folder: Path, position: int) -> Path:
    store = CheckpointStore(Disk(), folder / "checkpoint")
    writer = store.begin(layout.Checkpoint(position, position, position * SECOND, 1, 7, b"{}"))
    writer.pack(msgspec.msgpack.encode(["books", []]))
    store.finish(writer)
    return folder / "checkpoint" / f"{position:016d}.ckpt"


def brief(found: Inspection) -> list[tuple[str, str, int | None, int | None, int | None, int | None]]:
    return [(one.kind, one.file, one.offset, one.first, one.last, one.messages) for one in found.findings]


def states(found: Inspection) -> list[str]:
    return [one.state for one in found.files]


def test_a_whole_journal_is_described_file_by_file(tmp_path) -> None:
    paths = journal(tmp_path, [4, 2])
    found = inspect(Disk(), tmp_path)
    assert found.findings == []
    assert not found.is_damaged
    assert (found.first, found.next_position) == (0, 6)
    first, second = found.files
    assert (first.name, first.first, first.entries, first.messages) == (paths[0].name, 0, 4, 12)
    assert (first.first_ns, first.last_ns, first.state) == (0, 3 * SECOND, WHOLE)
    assert first.bytes_used == sum(head.frame_bytes for _, head in places(paths[0])) + layout.FILE_HEADER_BYTES
    assert first.bytes_allocated == OPTIONS.segment_bytes
    assert (second.first, second.entries, second.first_ns) == (4, 2, 4 * SECOND)


def test_a_damaged_body_costs_exactly_its_positions_and_messages(tmp_path) -> None:
    first, _ = journal(tmp_path, [5, 1])
    offset = flip_body(first, 2)
    found = inspect(Disk(), tmp_path)
    assert brief(found) == [(DAMAGED, first.name, offset, 2, 2, MESSAGES)]
    assert states(found) == [DAMAGED, WHOLE]
    assert found.is_damaged


def test_a_damaged_header_costs_its_positions_and_nobody_knows_how_many_messages(tmp_path) -> None:
    (path,) = journal(tmp_path, [5])
    offset = places(path)[2][0]
    flip(path, offset + 9)
    assert brief(inspect(Disk(), tmp_path)) == [(DAMAGED, path.name, offset, 2, 2, None)]


def test_damaged_commits_side_by_side_are_told_one_by_one(tmp_path) -> None:
    (path,) = journal(tmp_path, [6])
    offsets = [flip_body(path, number) for number in (3, 2)]
    expected = [(DAMAGED, path.name, offsets[1], 2, 2, 3), (DAMAGED, path.name, offsets[0], 3, 3, 3)]
    assert brief(inspect(Disk(), tmp_path)) == expected


def test_a_commit_that_became_zeros_is_found_by_its_position(tmp_path) -> None:
    (path,) = journal(tmp_path, [5])
    offset, head = places(path)[2]
    data = path.read_bytes()
    path.write_bytes(data[:offset] + bytes(head.frame_bytes) + data[offset + head.frame_bytes :])
    assert brief(inspect(Disk(), tmp_path)) == [(DAMAGED, path.name, offset, 2, 2, None)]


def test_a_file_that_is_gone_is_missing_positions(tmp_path) -> None:
    _, second, third = journal(tmp_path, [2, 3, 2])
    second.unlink()
    found = inspect(Disk(), tmp_path)
    assert brief(found) == [(MISSING, third.name, None, 2, 4, None)]
    assert states(found) == [WHOLE, WHOLE]
    assert found.is_damaged


def test_a_file_whose_header_is_damaged_is_one_finding(tmp_path) -> None:
    _, second, _ = journal(tmp_path, [2, 3, 2])
    flip(second, 9)
    found = inspect(Disk(), tmp_path)
    assert brief(found) == [(DAMAGED, second.name, 0, 2, 4, None)]
    assert "damaged header" in found.findings[0].why


def test_the_last_commit_may_be_torn_or_damaged_and_that_is_what_is_said(tmp_path) -> None:
    *_, last = journal(tmp_path, [2, 3])
    offset = flip_body(last, 2)
    found = inspect(Disk(), tmp_path)
    assert brief(found) == [(UNCLEAR, last.name, offset, 4, None, MESSAGES)]
    assert states(found) == [WHOLE, UNCLEAR]
    assert not found.is_damaged
    assert found.next_position == 4


def test_what_lies_before_the_last_commit_was_durable_so_it_is_damaged(tmp_path) -> None:
    (path,) = journal(tmp_path, [4])
    offsets = [flip_body(path, number) for number in (3, 2)]
    found = inspect(Disk(), tmp_path)
    assert brief(found) == [(DAMAGED, path.name, offsets[1], 2, 2, 3), (UNCLEAR, path.name, offsets[0], 3, None, 3)]
    assert found.is_damaged


def test_a_tail_that_a_crash_tore_is_no_damage_once_the_next_start_went_on(tmp_path) -> None:
    (first,) = journal(tmp_path, [3])
    offset = places(first)[2][0]
    data = first.read_bytes()
    first.write_bytes(data[: offset + 40] + bytes(len(data) - offset - 40))
    writer = JournalWriter(Disk(), tmp_path / "journal", OPTIONS, 2)
    writer.commit([group(2)])
    writer.close()
    found = inspect(Disk(), tmp_path)
    assert [(one.kind, one.file, one.offset, one.first) for one in found.findings] == [(TORN, first.name, offset, None)]
    assert states(found) == [TORN, WHOLE]
    assert not found.is_damaged
    assert found.next_position == 3


def test_the_end_of_a_file_is_damaged_when_the_next_goes_on_behind_it(tmp_path) -> None:
    first, _ = journal(tmp_path, [3, 2])
    offset = flip_body(first, 2)
    assert brief(inspect(Disk(), tmp_path)) == [(DAMAGED, first.name, offset, 2, 2, MESSAGES)]


def test_a_commit_that_was_written_again_counts_once(tmp_path) -> None:
    journal(tmp_path, [3])
    writer = JournalWriter(Disk(), tmp_path / "journal", OPTIONS, 2)
    writer.commit([group(2)])
    writer.close()
    found = inspect(Disk(), tmp_path)
    assert found.findings == []
    assert found.next_position == 3


def test_a_commit_that_validates_and_cannot_be_decoded_is_damaged(tmp_path) -> None:
    (path,) = journal(tmp_path, [3])
    offset, head = places(path)[1]
    data = path.read_bytes()
    uuid, _ = layout.parse_file_header(data) or (b"", 0)
    wrong = frame.encode(uuid, frame.JOURNAL, head.first, head.items, bytes(head.length))
    path.write_bytes(data[:offset] + wrong + data[offset + len(wrong) :])
    assert brief(inspect(Disk(), tmp_path)) == [(DAMAGED, path.name, offset, 1, 1, MESSAGES)]


def test_checkpoints_say_what_they_need_and_damage_before_the_newest_is_not_needed(tmp_path) -> None:
    first, second = journal(tmp_path, [4, 3])
    checkpoint(tmp_path, 3)
    checkpoint(tmp_path, 5)
    flip_body(first, 3)
    found = inspect(Disk(), tmp_path)
    assert [(one.position, one.fault, one.epoch, one.has_journal) for one in found.checkpoints] == [
        (3, "", 7, False),
        (5, "", 7, True),
    ]
    assert [one.needed for one in found.findings] == [False]
    flip_body(second, 1)
    found = inspect(Disk(), tmp_path)
    assert [one.needed for one in found.findings] == [False, True]
    assert not found.checkpoints[1].has_journal


def test_a_damaged_checkpoint_is_told_and_the_older_one_is_the_newest_whole(tmp_path) -> None:
    journal(tmp_path, [4])
    older, newer = checkpoint(tmp_path, 1), checkpoint(tmp_path, 3)
    flip(newer, layout.FILE_HEADER_BYTES + frame.HEADER_BYTES + 3)
    found = inspect(Disk(), tmp_path)
    assert [bool(one.fault) for one in found.checkpoints] == [False, True]
    assert found.newest_whole is not None
    assert (found.newest_whole.name, found.newest_whole.has_journal) == (older.name, True)
    assert found.is_damaged
    assert found.findings == []


@pytest.mark.parametrize(
    ("position", "expected"),
    [(None, (0, 2, False)), (1, (1, 2, False)), (9, (6, 8, False))],
    ids=["no checkpoint", "the journal begins behind it", "the journal ends before it"],
)
def test_a_journal_that_does_not_go_on_from_the_newest_checkpoint_has_missing_positions(
    tmp_path, position, expected
) -> None:
    first, *_ = journal(tmp_path, [3, 3])
    first.unlink()
    if position is not None:
        checkpoint(tmp_path, position)
    found = inspect(Disk(), tmp_path)
    (finding,) = found.findings
    has_journal = any(one.has_journal for one in found.checkpoints)
    assert (finding.first, finding.last, has_journal) == expected
    assert (finding.kind, found.is_damaged) == (MISSING, True)


def test_a_checkpoint_without_any_journal_file_is_damage_and_an_empty_folder_is_none(tmp_path) -> None:
    assert not inspect(Disk(), tmp_path).is_damaged
    checkpoint(tmp_path, 0)
    assert not inspect(Disk(), tmp_path).is_damaged, "as after a first start without input"
    checkpoint(tmp_path, 3)
    found = inspect(Disk(), tmp_path)
    assert [(one.kind, one.first, one.last) for one in found.findings] == [(MISSING, 3, None)]


class Trimming(Disk):
    """A disk on which a daemon removes files of the journal when the last of them is about to be read."""

    def __init__(self, *paths: Path) -> None:
        super().__init__()
        self.paths = paths
        self.opened = 0

    def open(self, path: Path, *, create: bool = False) -> int:
        self.opened += path == self.paths[-1]
        if self.opened == 2:  # the first time is the look at its header
            for each in self.paths:
                each.unlink(missing_ok=True)
        return super().open(path, create=create)


@pytest.mark.parametrize("trimmed", [1, 2])
def test_what_a_daemon_trims_meanwhile_is_not_missing(trimmed, tmp_path) -> None:
    *_, last = paths = journal(tmp_path, [2, 1, 3])
    checkpoint(tmp_path, 3)
    found = inspect(Trimming(*paths[:trimmed]), tmp_path)
    assert [one.name for one in found.files] == [path.name for path in paths[trimmed:]]
    assert found.files[-1].name == last.name
    assert found.findings == []


class Unreadable(Disk):
    """A disk that reads no byte behind the first 200 of one file."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.bad = -1

    def open(self, path: Path, *, create: bool = False) -> int:
        handle = super().open(path, create=create)
        self.bad = handle if path == self.path else -1  # one is open at a time
        return handle

    def read(self, handle: int, size: int, offset: int) -> bytes:
        if handle == self.bad and offset + size > 200:
            raise StoreError("cannot read it: Input/output error", errno="EIO")
        return super().read(handle, size, offset)


def test_a_file_that_the_disk_cannot_read_is_told_and_the_others_are_read(tmp_path) -> None:
    first, second, _ = journal(tmp_path, [2, 3, 2])
    found = inspect(Unreadable(second), tmp_path)
    assert [(one.kind, one.file, one.first, one.last) for one in found.findings] == [(DAMAGED, second.name, 2, 4)]
    assert "Input/output error" in found.findings[0].why
    assert [one.entries for one in found.files] == [2, 0, 2]
    assert first.exists()


def certain(found: Inspection) -> list[tuple[int, int]]:
    """Return the runs of positions before the end that are missing for certain, joined where they meet."""
    runs: list[tuple[int, int]] = []
    for one in sorted(found.findings, key=lambda one: (one.first is None, one.first)):
        if one.is_damage and one.first is not None and one.last is not None and one.last < found.next_position:
            begin = runs.pop()[0] if runs and runs[-1][1] == one.first - 1 else one.first
            runs.append((begin, one.last))
    return runs


def test_any_flipped_byte_is_found_and_costs_what_a_replay_says(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(frames, "PIECE_BYTES", 128)  # less than a frame: everything crosses pieces
    paths = journal(tmp_path, [2, 3])
    paddings = used = 0
    for path in paths:
        data = path.read_bytes()
        ends = [offset + frame.HEADER_BYTES + head.length for offset, head in places(path)]
        stops = [offset + head.frame_bytes for offset, head in places(path)]
        for place in range(stops[-1]):
            flip(path, place)
            found, report = inspect(Disk(), tmp_path), replay.Report()
            list(replay.entries(Disk(), tmp_path / "journal", 0, report))
            is_padding = any(end <= place < stop for end, stop in zip(ends, stops, strict=True))
            assert bool(found.findings) != is_padding, f"{path.name} {place}"
            assert certain(found) == report.missing, f"{path.name} {place}: {found.findings} {report}"
            assert found.next_position == report.next_position
            path.write_bytes(data)
            paddings += is_padding
            used += 1
    assert used > 500
    assert paddings


def test_several_damages_at_once_cost_what_a_replay_says(tmp_path) -> None:
    chance = random.Random(1)
    for attempt in range(60):
        folder = tmp_path / str(attempt)
        paths = journal(folder, [chance.randrange(1, 5) for _ in range(3)], chance.randbytes(50))
        for _ in range(chance.randrange(1, 6)):
            path = chance.choice(paths)
            if chance.random() < 0.1:
                path.unlink(missing_ok=True)
            elif path.exists():
                size = len(path.read_bytes().rstrip(b"\0"))
                flip(path, chance.randrange(size))
        found, report = inspect(Disk(), folder), replay.Report()
        list(replay.entries(Disk(), folder / "journal", 0, report))
        assert certain(found) == report.missing, f"{attempt}: {found} {report}"
        assert all(isinstance(one, Finding) for one in found.findings)


def test_nothing_is_changed_and_the_progress_is_what_was_announced(tmp_path) -> None:
    paths = journal(tmp_path, [2, 3], random.Random(1).randbytes(40_000))
    checkpoint(tmp_path, 2)
    flip_body(paths[0], 1)
    everything = [path for path in tmp_path.rglob("*") if path.is_file()]
    before = [(path.read_bytes(), path.stat().st_mtime_ns) for path in everything]
    done: list[int] = []
    inspect(Disk(), tmp_path, done.append)
    assert sum(done) == journal_bytes(Disk(), tmp_path) > 5 * 40_000
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == everything
    assert [(path.read_bytes(), path.stat().st_mtime_ns) for path in everything] == before
