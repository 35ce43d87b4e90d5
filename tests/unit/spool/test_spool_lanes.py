"""What the rest of the gateway may rely on: outcomes, cursors, policies, faults of the disk, lanes that come and go."""

from __future__ import annotations

import errno
import threading
from pathlib import Path

import pytest

from gateway.config import schema
from gateway.disk import Disk
from gateway.errors import StoreError
from gateway.model import Gap, SealedBatch
from gateway.spool.lanes import Appended, Spool
from tests.support.faultdisk import FaultDisk
from tests.support.spooled import batch, options, readings_between, region

LANE = "telemetry"
FOLDER = Path("/state/spool")


def opened(disk: Disk, *regions: schema.Region, spool: schema.Spool | None = None, folder: Path = FOLDER) -> Spool:
    return Spool.open(disk, folder, spool or options(), "node", regions or (region("one"),), 100)


def append(spool: Spool, first: int, last: int, outcome: Appended = Appended.STORED) -> None:
    for sequence in range(first, last + 1):
        assert spool.append(batch(sequence)) is outcome, sequence


def checkpoint(spool: Spool) -> None:
    spool.sync()
    spool.save_cursors()


def test_the_same_batch_again_is_known_and_another_content_is_a_conflict() -> None:
    disk = FaultDisk()
    spool = opened(disk)
    append(spool, 1, 3)
    for _ in range(2):
        append(spool, 1, 3, Appended.KNOWN)
        assert spool.append(batch(2, salt=0.5)) is Appended.CONFLICT
        assert spool.append(batch(2, epoch=101)) is Appended.CONFLICT
        assert spool.read(LANE, 2) == batch(2)
        checkpoint(spool)
        spool = opened(disk)
    assert spool.head(LANE) == 3
    kept = {path.name: bytes(file.seen) for path, file in disk.entries.items() if path.parent == FOLDER / "aside"}
    contents = [batch(2), batch(2, salt=0.5), batch(2, epoch=101)]
    assert sorted(kept.values()) == sorted(one.data for one in contents), "both are kept for a person"
    assert f"{LANE}-100-2-{batch(2).hash.hex()[:8]}.batch" in kept


def test_a_batch_is_held_in_memory_until_it_is_durable_and_reading_it_there_asks_no_disk() -> None:
    disk = FaultDisk()
    spool = opened(disk)
    assert spool.held("never", 1) is None
    append(spool, 1, 2)
    assert [spool.held(LANE, sequence) for sequence in range(4)] == [None, batch(1), batch(2), None]
    checkpoint(spool)
    assert spool.held(LANE, 1) is None
    assert spool.read(LANE, 1) == batch(1)


def test_an_epoch_is_durable_and_above_all_before() -> None:
    disk = FaultDisk()
    spool = opened(disk)
    assert spool.epoch == 100
    assert spool.mint_epoch(50) == 101
    assert spool.mint_epoch(200) == 200
    disk.entries = dict(disk.safe_entries)
    for file in disk.entries.values():
        file.seen = bytearray(file.safe)
    assert opened(disk).epoch == 200


def test_a_full_ring_evicts_its_oldest_segment_and_says_exactly_what_is_gone() -> None:
    spool = opened(FaultDisk())
    append(spool, 1, 100)
    (lane,) = spool.status()
    gap = spool.read(LANE, 1)
    assert isinstance(gap, Gap)
    assert (gap.first, gap.last) == (1, spool.oldest(LANE) - 1)
    assert gap.readings == readings_between(gap.first, gap.last)
    assert (lane["evicted_batches"], lane["evicted_readings"]) == (gap.last, gap.readings)
    assert lane["bytes"] <= lane["bytes_max"]
    assert lane["state"] == "full"


def test_what_every_required_region_has_is_freed_and_not_counted_as_evicted() -> None:
    spool = opened(FaultDisk(), region("one"), region("spare", required=False))
    for sequence in range(1, 101):
        append(spool, sequence, sequence)
        spool.acknowledge("one", LANE, sequence)
    (lane,) = spool.status()
    assert lane["evicted_batches"] == 0
    assert lane["regions"]["one"]["gap_batches"] == 0
    gap = spool.read(LANE, 1)
    assert isinstance(gap, Gap)
    assert lane["regions"]["spare"]["gap_batches"] == gap.last


def test_a_ring_that_refuses_keeps_everything_and_takes_more_once_there_is_room() -> None:
    spool = opened(FaultDisk(), spool=options(policy="refuse"))
    sequence = 0
    while spool.append(batch(sequence + 1)) is Appended.STORED:
        sequence += 1
    assert spool.status()[0]["state"] == "full"
    assert spool.append(batch(sequence + 1)) is Appended.REFUSED
    assert [spool.read(LANE, one) for one in range(1, sequence + 1)] == [batch(one) for one in range(1, sequence + 1)]
    spool.acknowledge("one", LANE, sequence)
    append(spool, sequence + 1, sequence + 1)
    assert spool.status()[0]["state"] == "ok"


def test_a_cursor_never_goes_back_nor_beyond_the_head() -> None:
    spool = opened(FaultDisk())
    append(spool, 1, 5)
    spool.acknowledge("one", LANE, 4)
    spool.acknowledge("one", LANE, 2)
    assert spool.cursor("one", LANE) == 4
    spool.acknowledge("one", LANE, 99)
    assert spool.cursor("one", LANE) == 5


def test_a_cursor_of_an_older_epoch_steps_back_when_its_sequence_is_used_again() -> None:
    disk = FaultDisk()
    spool = opened(disk)
    append(spool, 1, 2)
    checkpoint(spool)
    append(spool, 3, 4)
    spool.acknowledge("one", LANE, 4)
    spool.save_cursors()
    # The power cut took batches 3 and 4, which were never synced, and the journal that could make them again.
    for path, file in disk.entries.items():
        if path.suffix == ".seg":
            file.seen = bytearray(file.safe)
    spool = opened(disk)
    assert (spool.head(LANE), spool.cursor("one", LANE)) == (2, 2)
    assert spool.append(batch(3, epoch=spool.mint_epoch(0), before=0)) is Appended.STORED
    assert spool.cursor("one", LANE) == 2


def test_a_hole_before_a_batch_becomes_a_gap() -> None:
    spool = opened(FaultDisk())
    append(spool, 1, 2)
    append(spool, 6, 6)
    gap = spool.read(LANE, 4)
    assert isinstance(gap, Gap)
    assert (gap.first, gap.last, gap.readings, gap.reason) == (3, 5, readings_between(3, 5), "damaged")


@pytest.mark.parametrize("verb", ["create", "allocate", "write", "sync", "rename", "sync_folder"])
def test_what_the_disk_refuses_is_held_in_memory_and_written_when_the_disk_takes_it(verb: str) -> None:
    disk = FaultDisk()
    spool = opened(disk)
    disk.fail(verb, errno.EIO, times=4)
    append(spool, 1, 2)
    assert spool.is_held
    assert spool.status()[0]["state"] == "held"
    assert spool.read(LANE, 2) == batch(2)
    with pytest.raises(StoreError):
        spool.sync()
    assert spool.is_held
    disk.heal()
    append(spool, 3, 3)
    assert spool.is_held, "an append alone does not bother the disk"
    spool.sync()
    assert not spool.is_held
    assert not any(path.suffix == ".new" for path in disk.entries)
    checkpoint(spool)
    spool.close()
    assert disk.handles() == 0
    assert opened(disk).read(LANE, 3) == batch(3)


def test_a_failed_fsync_seals_the_file_and_its_batches_are_written_again_elsewhere() -> None:
    disk = FaultDisk()
    spool = opened(disk)
    append(spool, 1, 2)
    spool.sync()
    append(spool, 3, 4)
    disk.fail("sync")
    checkpoint(spool)
    for file in disk.entries.values():
        file.seen = bytearray(file.safe)
    again = opened(disk)
    assert [again.read(LANE, one) for one in range(1, 5)] == [batch(one) for one in range(1, 5)]
    assert len([path for path in disk.entries if path.suffix == ".seg"]) == 2


def test_a_disk_that_cannot_sync_keeps_batches_readable_and_says_so_until_it_can() -> None:
    disk = FaultDisk()
    spool = opened(disk)
    append(spool, 1, 3)
    for _ in range(3):
        disk.fail("sync", times=10)
        with pytest.raises(StoreError):
            spool.sync()
        disk.heal()
        assert [spool.read(LANE, one) for one in range(1, 4)] == [batch(one) for one in range(1, 4)]
        assert spool.status()[0]["batches"] == 3
    spool.sync()
    for file in disk.entries.values():
        file.seen = bytearray(file.safe)
    assert opened(disk).read(LANE, 3) == batch(3)


def test_batches_of_a_file_that_cannot_be_synced_at_opening_move_to_a_new_one() -> None:
    disk = FaultDisk()
    spool = opened(disk)
    append(spool, 1, 2)
    checkpoint(spool)
    append(spool, 3, 4)
    disk.fail("sync")
    spool = opened(disk)
    append(spool, 3, 4, Appended.KNOWN)
    checkpoint(spool)
    for file in disk.entries.values():
        file.seen = bytearray(file.safe)
    again = opened(disk)
    assert [again.read(LANE, one) for one in range(1, 5)] == [batch(one) for one in range(1, 5)]


def test_a_batch_larger_than_a_segment_gets_a_file_of_its_size() -> None:
    spool = opened(FaultDisk(), spool=options(segments=2, segment_bytes=512))
    append(spool, 1, 5)
    assert spool.read(LANE, 5) == batch(5)


def test_a_lane_that_is_not_configured_any_more_drains_and_then_keeps_only_its_head() -> None:
    disk = FaultDisk()
    spool = opened(disk)
    append(spool, 1, 5)
    checkpoint(spool)
    spool = opened(disk, spool=schema.Spool(segment_bytes=4096, lanes=()))
    assert spool.lanes == (LANE,)
    assert spool.read(LANE, 1) == batch(1)
    assert spool.append(batch(6)) is Appended.STORED
    spool.acknowledge("one", LANE, 6)
    checkpoint(spool)
    assert not any(path.suffix == ".seg" for path in disk.entries)
    assert opened(disk).head(LANE) == 6
    assert spool.append(batch(7)) is Appended.STORED


def test_a_region_that_was_removed_holds_nothing_and_is_named() -> None:
    disk = FaultDisk()
    spool = opened(disk, region("one"), region("two"))
    append(spool, 1, 5)
    checkpoint(spool)
    spool = opened(disk, region("one"))
    assert any("two" in note for note in spool.report)
    for sequence in range(6, 60):
        append(spool, sequence, sequence)
        spool.acknowledge("one", LANE, sequence)
    assert spool.status()[0]["evicted_batches"] == 0


def test_a_region_that_is_added_starts_at_the_oldest_batch() -> None:
    disk = FaultDisk()
    spool = opened(disk)
    append(spool, 1, 100)
    checkpoint(spool)
    spool = opened(disk, region("one"), region("new"))
    assert spool.cursor("new", LANE) + 1 == spool.oldest(LANE)
    assert spool.cursor("one", LANE) == 0


def test_a_region_that_comes_back_after_eviction_gets_an_exact_gap() -> None:
    disk = FaultDisk()
    spool = opened(disk, region("one"), region("two"))
    append(spool, 1, 5)
    spool.acknowledge("two", LANE, 3)
    checkpoint(spool)
    spool = opened(disk, region("one"))
    append(spool, 6, 100)
    spool.acknowledge("one", LANE, 100)
    checkpoint(spool)
    spool = opened(disk, region("one"), region("two"))
    assert spool.cursor("two", LANE) == 3
    gap = spool.read(LANE, 4)
    assert isinstance(gap, Gap)
    assert (gap.first, gap.last) == (4, spool.oldest(LANE) - 1)
    assert gap.readings == readings_between(gap.first, gap.last)


def test_readers_in_other_threads_always_get_a_batch_or_a_gap(tmp_path: Path) -> None:
    spool = opened(Disk(), folder=tmp_path / "spool")
    faults: list[object] = []
    is_done = threading.Event()

    def read_all() -> None:
        while not is_done.is_set():
            sequence = spool.cursor("one", LANE) + 1
            found = spool.read(LANE, sequence)
            if isinstance(found, SealedBatch) and found != batch(sequence):
                faults.append(found)
            if isinstance(found, Gap) and found.reason != "evicted":
                faults.append(found)
            if found is not None:
                spool.acknowledge("one", LANE, found.last if isinstance(found, Gap) else sequence)

    threads = [threading.Thread(target=read_all) for _ in range(2)]
    for thread in threads:
        thread.start()
    for sequence in range(1, 301):
        append(spool, sequence, sequence)
        if sequence % 50 == 0:
            checkpoint(spool)
    is_done.set()
    for thread in threads:
        thread.join()
    spool.close()
    assert not faults
