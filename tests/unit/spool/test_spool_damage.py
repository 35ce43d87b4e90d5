"""A spool opens whatever happened to its bytes, says what is gone, and gives back everything else."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from gateway.errors import StoreError
from gateway.model import Gap, SealedBatch
from gateway.spool.lanes import Appended, Spool
from tests.support.faultdisk import FaultDisk
from tests.support.spooled import batch, options, readings_between, readings_of, region

LANE = "telemetry"
FOLDER = Path("/state/spool")
RING = FOLDER / "lanes" / LANE
SMALL = options(segments=8, segment_bytes=2048)


def opened(disk: FaultDisk) -> Spool:
    return Spool.open(disk, FOLDER, SMALL, "node", [region("one")], 100)


def filled(count: int) -> FaultDisk:
    """Return a disk with a spool of `count` batches, all durable, and books that say so."""
    disk = FaultDisk()
    spool = opened(disk)
    for sequence in range(1, count + 1):
        assert spool.append(batch(sequence)) is Appended.STORED
    spool.sync()
    spool.save_cursors()
    spool.close()
    return disk


def flip(disk: FaultDisk, path: Path, offset: int) -> None:
    disk.entries[path].seen[offset] ^= 0x41


def lost_batches(spool: Spool, count: int) -> list[int]:
    """Read everything; return what is a gap, after checking that batches are the same and gaps exact."""
    lost = []
    for sequence in range(1, count + 1):
        found = spool.read(LANE, sequence)
        if isinstance(found, SealedBatch):
            assert found == batch(sequence)
            continue
        assert isinstance(found, Gap)
        assert found.reason == "damaged"
        assert found.first <= sequence <= found.last
        assert found.readings == readings_between(found.first, found.last)
        assert found.readings_before == readings_between(1, found.first - 1)
        lost.append(sequence)
    return lost


@pytest.mark.parametrize("which", [0, -1])
def test_any_byte_of_a_segment_flipped_costs_at_most_its_batch_and_is_reported(which: int) -> None:
    count = 5
    disk = filled(count)
    path = [path for path in sorted(disk.entries) if path.parent == RING][which]
    content = bytes(disk.entries[path].seen)
    others = {other: bytes(file.seen) for other, file in disk.entries.items()}
    batches_hit = set()
    for offset in range(len(content)):
        fresh = FaultDisk()
        fresh.folders = set(disk.folders)
        for other, data in others.items():
            fresh.entries[other] = type(disk.entries[other])()
            fresh.entries[other].change(0, data)
        flip(fresh, path, offset)
        spool = opened(fresh)
        lost = lost_batches(spool, count)
        assert len(lost) <= 1, (offset, lost)
        assert bool(lost) == any("batch" in note for note in spool.report), (offset, spool.report)
        (lane,) = spool.status()
        assert lane["head"] == count
        assert lane["damaged_batches"] == len(lost)
        assert spool.append(batch(count + 1)) is Appended.STORED
        batches_hit.update(lost)
        spool.close()
    assert batches_hit


def test_a_torn_tail_is_truncated_and_what_was_behind_it_is_made_again() -> None:
    disk = filled(2)
    spool = opened(disk)
    assert spool.append(batch(3)) is Appended.STORED
    assert spool.append(batch(4)) is Appended.STORED
    # The power cut kept batch 4 but only a part of batch 3: pages reach the disk in any order.
    found = spool._rings[LANE].contents.find(3)
    assert found is not None
    flip(disk, found[0].path, found[1].offset + 40)
    spool = opened(disk)
    assert any("cut off" in note for note in spool.report)
    assert spool.head(LANE) == 2
    assert spool.append(batch(3)) is Appended.STORED
    assert spool.append(batch(4)) is Appended.STORED
    assert lost_batches(spool, 4) == []


def test_a_segment_without_any_readable_header_is_kept_aside_and_its_batches_become_an_exact_gap() -> None:
    disk = filled(12)
    names = [path for path in sorted(disk.entries) if path.parent == RING]
    flip(disk, names[1], 8)
    flip(disk, names[1], 2048 - 64 + 8)
    spool = opened(disk)
    first, following = (int(name.stem) for name in names[1:3])
    assert lost_batches(spool, 12) == list(range(first, following))
    assert names[1].with_name(names[1].name + ".damaged") in disk.entries
    again = opened(disk)
    assert lost_batches(again, 12) == list(range(first, following))
    assert again.status()[0]["damaged_batches"] == following - first


def test_damage_is_counted_once_however_often_the_spool_is_opened() -> None:
    disk = filled(5)
    flip(disk, RING / "0000000000000001.seg", 200)
    frame = bytes(disk.entries[RING / "0000000000000001.seg"].seen)
    for _ in range(3):
        spool = opened(disk)
        assert lost_batches(spool, 5) == [1]
        spool.save_cursors()
        assert spool.status()[0]["damaged_readings"] == readings_of(1)
        spool.close()
        assert bytes(disk.entries[FOLDER / "aside" / f"{LANE}-100-1.damaged"].seen) in frame, "kept for a person"


def test_a_spot_that_stays_unreadable_on_a_disk_that_works_becomes_a_gap_when_it_is_given_up() -> None:
    disk = filled(3)
    spool = opened(disk)
    disk.fail("read", times=10)
    with pytest.raises(StoreError):
        spool.read(LANE, 2)
    spool.give_up(LANE, 2)
    disk.heal()
    gap = spool.read(LANE, 2)
    assert isinstance(gap, Gap)
    assert (gap.first, gap.last, gap.readings, gap.reason) == (2, 2, readings_of(2), "damaged")
    assert lost_batches(spool, 3) == [2]


def test_nothing_is_given_up_while_the_whole_disk_is_gone() -> None:
    disk = filled(3)
    spool = opened(disk)
    disk.fail("read", times=100)
    disk.fail("write", times=100)
    with pytest.raises(StoreError):
        spool.give_up(LANE, 2)
    disk.heal()
    spool.give_up(LANE, 2)
    assert lost_batches(spool, 3) == []


def test_one_transient_read_error_costs_nothing() -> None:
    disk = filled(3)
    spool = opened(disk)
    disk.fail("read")
    with pytest.raises(StoreError):
        spool.read(LANE, 2)
    assert spool.read(LANE, 2) == batch(2)


def test_losing_both_copies_of_a_cursor_costs_duplicates_and_no_data() -> None:
    disk = filled(4)
    spool = opened(disk)
    spool.acknowledge("one", LANE, 3)
    spool.save_cursors()
    spool.save_cursors()
    spool.close()
    for number in (0, 1):
        path = FOLDER / "cursors" / f"one.{number}"
        if path in disk.entries:
            flip(disk, path, 30)
    spool = opened(disk)
    assert spool.cursor("one", LANE) == 0
    assert lost_batches(spool, 4) == []
    assert any("lost" in note for note in spool.report)


def test_losing_one_copy_of_the_cursor_falls_back_to_the_other() -> None:
    disk = filled(4)
    for sequence in (1, 2, 3):
        spool = opened(disk)
        spool.acknowledge("one", LANE, sequence)
        spool.save_cursors()
        spool.close()
    newest = max(("one.0", "one.1"), key=lambda name: bytes(disk.entries[FOLDER / "cursors" / name].seen[8:16])[::-1])
    flip(disk, FOLDER / "cursors" / newest, 30)
    assert opened(disk).cursor("one", LANE) == 2


def test_losing_the_books_loses_no_batch_and_no_epoch() -> None:
    disk = filled(5)
    for number in (0, 1):
        flip(disk, FOLDER / f"ledger.{number}", 30)
    spool = opened(disk)
    assert spool.epoch == 100
    assert spool.head(LANE) == 5
    assert lost_batches(spool, 5) == []
    assert any("books are lost" in note for note in spool.report)


def test_garbage_in_the_folder_is_left_alone_and_reported() -> None:
    disk = filled(2)
    handle = disk.open(RING / "notes.txt", create=True)
    disk.write(handle, random.Random(1).randbytes(100), 0)
    disk.close(handle)
    spool = opened(disk)
    assert any("notes.txt" in note for note in spool.report)
    assert RING / "notes.txt" in disk.entries
    assert lost_batches(spool, 2) == []
