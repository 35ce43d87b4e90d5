"""What an inspection calls missing the next start misses, nothing else; it changes nothing, beside a writer either."""

from __future__ import annotations

import os
import random
import threading
from pathlib import Path

import pytest

from gateway.disk import Disk
from gateway.errors import StoreError
from gateway.model import Gap, SealedBatch
from gateway.spool import format as layout
from gateway.spool.findings import DAMAGED, MISSING, TORN, Inspection
from gateway.spool.inspect import inspect, spool_bytes
from gateway.spool.lanes import Spool
from gateway.spool.stored import node_of, stored
from gateway.spool.walk import CHECKSUMS, CONTENT, INDEX
from tests.support.faultdisk import FaultDisk, File
from tests.support.spooled import batch, options, readings_between, region

LANE = "telemetry"
FOLDER = Path("/state/spool")
RING = FOLDER / "lanes" / LANE
SMALL = options(segments=8, segment_bytes=2048)
COUNT = 14
STRIDE = 1 if os.environ.get("GATEWAY_LONG") else 7


def opened(disk: Disk, folder: Path = FOLDER) -> Spool:
    return Spool.open(disk, folder, SMALL, "node", [region("one")], 100)


def filled(count: int = COUNT, disk: Disk | None = None, folder: Path = FOLDER) -> FaultDisk:
    """Return a disk with a ring of `count` batches, of which region one has the first two."""
    disk = disk or FaultDisk()
    spool = opened(disk, folder)
    for sequence in range(1, count + 1):
        spool.append(batch(sequence))
    spool.sync()
    spool.acknowledge("one", LANE, 2)
    spool.save_cursors()
    spool.close()
    return disk  # type: ignore[return-value]  # only those that pass none look at it


def copy(disk: FaultDisk) -> FaultDisk:
    fresh = FaultDisk()
    fresh.folders = set(disk.folders)
    for path, file in disk.entries.items():
        fresh.entries[path] = File()
        fresh.entries[path].change(0, bytes(file.seen))
    return fresh


def contents(disk: FaultDisk) -> dict[Path, bytes]:
    return {path: bytes(file.seen) for path, file in disk.entries.items()}


def missing(found: Inspection) -> set[int]:
    """Return what the findings call missing, after checking that the readings are exact."""
    lost = set()
    for one in found.findings:
        if one.first is not None and not one.known and not one.passed:
            assert one.last is not None
            assert one.readings == readings_between(one.first, one.last)
            lost |= set(range(one.first, one.last + 1))
    return lost


def passed(found: Inspection) -> set[int]:
    """Return what cannot be read, and nobody waits for."""
    runs = [range(one.first, (one.last or 0) + 1) for one in found.findings if one.first is not None and one.passed]
    return {sequence for run in runs for sequence in run}


def missed(disk: FaultDisk) -> set[int]:
    """Return what region one waits for and cannot be read after a start on this disk."""
    spool = opened(disk)
    first = spool.cursor("one", LANE) + 1
    return {number for number in range(first, COUNT + 1) if not isinstance(spool.read(LANE, number), SealedBatch)}


def place_of(disk: FaultDisk, sequence: int) -> tuple[Path, layout.Record]:
    found = inspect(disk, FOLDER).contents[LANE].find(sequence)
    assert found is not None
    return found[0].path, found[1]


def read_back(disk: Disk, found: Inspection) -> list[SealedBatch | Gap]:
    return list(stored(disk, found.contents[LANE], "node", 1, COUNT))


@pytest.mark.parametrize("depth", [INDEX, CHECKSUMS, CONTENT])
def test_a_whole_ring_has_no_findings_and_all_its_batches(depth: str) -> None:
    disk = filled()
    before = contents(disk)
    found = inspect(disk, FOLDER, "node", depth)
    assert found.findings == []
    assert not found.is_damaged
    (lane,) = found.lanes
    assert (lane.oldest, lane.head, lane.batches) == (1, COUNT, COUNT)
    assert lane.readings == readings_between(1, COUNT)
    assert [(one.first, one.last, one.is_finished) for one in lane.segments][-1][2] is False
    assert len(lane.segments) > 2
    backlog = lane.regions["one"]
    assert (backlog.cursor, backlog.batches, backlog.readings) == (2, COUNT - 2, readings_between(3, COUNT))
    assert read_back(disk, found) == [batch(sequence) for sequence in range(1, COUNT + 1)]
    assert node_of(disk, found) == "node"
    assert spool_bytes(disk, FOLDER) == lane.bytes_allocated == 2048 * len(lane.segments)
    assert contents(disk) == before


@pytest.mark.parametrize("which", range(8))
def test_what_is_called_missing_after_a_flip_is_what_the_next_start_misses(which: int) -> None:
    whole = filled()
    paths = sorted(
        path for path in whole.entries if path.suffix == ".seg" or path.parent in (FOLDER, FOLDER / "cursors")
    )
    assert len(paths) == 8, paths
    path = paths[which]
    for offset in range(0, len(whole.entries[path].seen), STRIDE):
        disk = copy(whole)
        disk.entries[path].seen[offset] ^= 0x41
        before = contents(disk)
        found = inspect(disk, FOLDER, "node", CONTENT)
        assert contents(disk) == before
        lost = missing(found)
        there = {one.id.sequence for one in read_back(disk, found) if isinstance(one, SealedBatch)}
        assert there == set(range(1, COUNT + 1)) - lost - passed(found), offset
        assert passed(found) <= {1, 2}
        assert missed(disk) == lost, (offset, found.findings)
        assert bool(lost) <= found.is_damaged
        (state,) = [one for one in found.lanes[0].segments if one.name == path.name] or [None]
        if state is not None:
            assert (state.state == DAMAGED) == found.is_damaged, offset


@pytest.mark.parametrize("offset", [0, 8, 63])
def test_one_damaged_header_costs_nothing_and_is_named(offset: int) -> None:
    disk = filled()
    path = RING / layout.file_name(1)
    size = len(disk.entries[path].seen)
    for place in (offset, size - layout.HEADER_BYTES + offset):
        hit = copy(disk)
        hit.entries[path].seen[place] ^= 1
        found = inspect(hit, FOLDER)
        (finding,) = [one for one in found.findings if "header" in one.why]
        assert (finding.kind, finding.file, finding.first) == (DAMAGED, path.name, None)
        assert read_back(hit, found) == [batch(sequence) for sequence in range(1, COUNT + 1)]


def test_a_segment_that_is_gone_is_missing() -> None:
    disk = filled()
    first, second, *_ = sorted(path for path in disk.entries if path.parent == RING)
    del disk.entries[second]
    found = inspect(disk, FOLDER)
    (finding,) = found.findings
    assert (finding.kind, finding.lane, finding.file) == (MISSING, LANE, "")
    assert missing(found) == missed(copy(disk)) != set()
    gaps = [one for one in read_back(disk, found) if isinstance(one, Gap)]
    assert [(gap.first, gap.last, gap.reason) for gap in gaps] == [(finding.first, finding.last, "damaged")]
    assert first.exists() is False, "the disk is in memory"


def test_a_loss_that_the_books_have_already_is_known_and_told_once() -> None:
    disk = filled()
    segment, record = place_of(disk, 3)
    disk.entries[segment].seen[record.offset + 40] ^= 1
    lost = missing(inspect(disk, FOLDER, depth=CHECKSUMS))
    assert lost == {3}
    spool = opened(disk)
    for sequence in sorted(lost):
        assert isinstance(spool.read(LANE, sequence), Gap)
    spool.save_cursors()
    spool.close()
    found = inspect(disk, FOLDER, depth=CHECKSUMS)
    assert missing(found) == set()
    assert [one.known for one in found.findings] == [True]
    assert found.is_damaged
    (gap,) = found.lanes[0].gaps
    assert set(range(gap.first, gap.last + 1)) == lost
    assert found.lanes[0].lost == {"damaged": (len(lost), gap.readings)}


def test_what_was_being_written_is_torn_and_costs_nothing() -> None:
    disk = filled()
    newest = max(path for path in disk.entries if path.parent == RING)
    (state,) = [one for one in inspect(disk, FOLDER).lanes[0].segments if one.name == newest.name]
    disk.entries[newest].seen[state.bytes_used : state.bytes_used + 3] = b"EGF"
    found = inspect(disk, FOLDER, depth=CONTENT)
    assert [(one.kind, one.offset) for one in found.findings] == [(TORN, state.bytes_used)]
    assert not found.is_damaged
    assert found.lanes[0].segments[-1].state == TORN
    assert missed(disk) == set()


def test_a_batch_whose_frame_is_right_and_whose_content_is_not_is_found_by_decoding() -> None:
    disk = filled(COUNT)
    path, record = place_of(disk, 3)
    header = layout.parse_segment_header(bytes(disk.entries[path].seen[: layout.HEADER_BYTES]))
    assert header is not None
    data = batch(3).data
    wrong = data[:-1] + bytes([data[-1] ^ 1])
    stamp = layout.Stamp(100, record.readings_before, 0, batch(3).hash)
    frame = layout.batch_frame(header.uuid, 3, record.readings, stamp, wrong)
    disk.entries[path].seen[record.offset : record.offset + len(frame)] = frame
    assert not inspect(disk, FOLDER, depth=CHECKSUMS).is_damaged
    found = inspect(disk, FOLDER, "node", CONTENT)
    (finding,) = found.findings
    assert (finding.first, finding.last) == (3, 3)
    assert "its checksum is right" in finding.why
    other = inspect(filled(), FOLDER, "another", CONTENT)
    assert {one.why for one in other.findings} == {"it is of node node"}


def test_files_that_nobody_can_use_are_named() -> None:
    disk = filled()
    for path in (RING / "0000000000000001.seg.damaged", RING / "notes.txt", FOLDER / "aside" / "x.damaged"):
        disk.entries[path] = File()
    disk.folders.add(FOLDER / "aside")
    found = inspect(disk, FOLDER)
    names = [f"lanes/{LANE}/0000000000000001.seg.damaged", f"lanes/{LANE}/notes.txt", "aside/x.damaged"]
    assert found.aside == names


def test_a_segment_of_another_lane_is_damage_of_this_one() -> None:
    disk = filled()
    source = bytes(disk.entries[RING / layout.file_name(1)].seen)
    other = FOLDER / "lanes" / "alarm"
    disk.folders.add(other)
    disk.entries[other / layout.file_name(1)] = File()
    disk.entries[other / layout.file_name(1)].change(0, source)
    found = inspect(disk, FOLDER)
    (finding,) = [one for one in found.findings if one.lane == "alarm"]
    assert finding.why == "the segment belongs to another lane"
    assert found.contents["alarm"].head.sequence == 0


def test_an_empty_folder_has_nothing_and_no_damage(tmp_path: Path) -> None:
    found = inspect(Disk(), tmp_path / "spool")
    assert (found.lanes, found.findings, found.epoch) == ([], [], 0)


def test_a_disk_that_cannot_read_a_segment_is_damage_that_is_named(tmp_path: Path) -> None:
    filled(disk=Disk(), folder=tmp_path)

    class Refusing(Disk):
        def open(self, path: Path, *, create: bool = False) -> int:
            if path.name == layout.file_name(1):
                raise StoreError(f"cannot open {path}: Input/output error", path=str(path), errno="EIO")
            return super().open(path, create=create)

    found = inspect(Refusing(), tmp_path)
    (finding,) = found.findings
    assert finding.why.endswith("Input/output error")
    assert missing(found) != set()


def test_beside_a_writer_that_appends_thins_and_frees_nothing_is_called_damaged(tmp_path: Path) -> None:
    seed = int(os.environ.get("GATEWAY_SEED") or random.randrange(1 << 32))
    print(f"GATEWAY_SEED={seed}")  # noqa: T201  # to run it again
    chance = random.Random(seed)
    done = threading.Event()
    batches = [batch(sequence) for sequence in range(1, 1500)]

    def write() -> None:
        spool = opened(Disk(), tmp_path)
        for one in batches:
            spool.append(one)
            fate = chance.random()
            if fate < 0.1:
                spool.sync()
            elif fate < 0.2:
                spool.acknowledge("one", LANE, chance.randint(1, one.id.sequence))
                spool.save_cursors()
        spool.close()
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    looks = 0
    while not done.is_set() or not looks:
        found = inspect(Disk(), tmp_path, "node", CONTENT)
        assert not found.is_damaged, found.findings
        looks += 1
    writer.join()
    found = inspect(Disk(), tmp_path, "node", CONTENT)
    assert found.findings == []
    assert found.lanes[0].head == len(batches)
