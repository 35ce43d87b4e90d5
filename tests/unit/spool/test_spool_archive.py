"""An export is the ring as it was; a new box that takes it up goes on behind it; a bad one is refused as a whole."""

from __future__ import annotations

import io
import random
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gateway.config import schema
from gateway.disk import Disk
from gateway.errors import ArchiveError, StoreError
from gateway.model import Gap, SealedBatch
from gateway.spool import archive
from gateway.spool.inspect import inspect
from gateway.spool.lanes import Spool
from gateway.spool.stored import stored
from gateway.spool.takeover import import_archive
from tests.support.faultdisk import FaultDisk, PowerCutError
from tests.support.spooled import batch, options, readings_between, region

if TYPE_CHECKING:
    from collections.abc import Callable

LANE = "telemetry"
FIRST, LAST, CURSOR = 5, 40, 12
REGIONS = (region("one"), region("new"))
STATE = Path("/state")


def config(segments: int = 60, node: str = "node") -> schema.Gateway:
    return schema.Gateway(
        node=schema.Node(id=node), spool=options(segments=segments, segment_bytes=2048), region=REGIONS
    )


def opened(disk: Disk, state: Path = STATE, segments: int = 60) -> Spool:
    return Spool.open(disk, state / "spool", config(segments).spool, "node", list(REGIONS), 500)


def exported(tmp_path: Path, items: list[SealedBatch | Gap] | None = None) -> Path:
    """Return an archive of batches 5 to 40 with a gap from 20 to 22; region one has 12 of them."""
    if items is None:
        items = [batch(number) for number in range(FIRST, LAST + 1) if not 20 <= number <= 22]
        items.insert(15, Gap("node", LANE, 100, 20, 22, readings_between(20, 22), readings_between(1, 19), "evicted"))
    path = tmp_path / "export.tar"
    place = archive.Position(CURSOR, 100, readings_between(1, CURSOR))
    archive.write(path, archive.Manifest("node", 10**18, regions={"one": {LANE: place}}), items, lambda _: None)
    return path


def take(disk: Disk, path: Path, settings: schema.Gateway | None = None) -> None:
    import_archive(disk, STATE, settings or config(), path, archive.manifest_of(path), 10**18, lambda _: None)


def read_all(spool: Spool, last: int = LAST) -> list[SealedBatch | Gap | None]:
    found, sequence = [], FIRST
    while sequence <= last:
        found.append(spool.read(LANE, sequence))
        sequence = found[-1].last + 1 if isinstance(found[-1], Gap) else sequence + 1
    return found


def test_what_is_exported_is_what_is_taken_up_with_gaps_and_cursors(tmp_path: Path) -> None:
    path = exported(tmp_path)
    disk = FaultDisk()
    take(disk, path)
    spool = opened(disk)
    found = read_all(spool)
    assert found == [member.content for member in archive.read(path)]
    assert [one.reason for one in found if isinstance(one, Gap)] == ["evicted"]
    assert (spool.cursor("one", LANE), spool.cursor("new", LANE)) == (CURSOR, FIRST - 1)
    assert spool.is_imported(LANE)
    assert spool.report == []
    assert spool.readings(LANE) == readings_between(1, LAST)
    assert list(tmp_path.iterdir()) == [path]


def test_a_real_ring_survives_the_way_out_and_in(tmp_path: Path) -> None:
    spool = opened(Disk(), tmp_path, segments=6)
    for number in range(1, LAST + 1):
        spool.append(batch(number))
    spool.sync()
    spool.acknowledge("one", LANE, 30)
    spool.save_cursors()
    spool.close()
    found = inspect(Disk(), tmp_path / "spool")
    items = list(stored(Disk(), found.contents[LANE], "node", 1, LAST))
    assert isinstance(items[0], Gap), "the ring was too small"
    path = exported(tmp_path, items)
    disk = FaultDisk()
    take(disk, path)
    assert list(stored(disk, inspect(disk, STATE / "spool").contents[LANE], "node", 1, LAST)) == items


def test_taking_it_in_twice_is_the_same_as_once(tmp_path: Path) -> None:
    path, disk = exported(tmp_path), FaultDisk()
    take(disk, path)
    once = {name: bytes(file.seen) for name, file in disk.entries.items() if name.suffix == ".seg"}
    take(disk, path)
    assert {name: bytes(file.seen) for name, file in disk.entries.items() if name.suffix == ".seg"} == once


def test_an_import_that_was_cut_anywhere_is_gone_on_with(tmp_path: Path) -> None:
    path, cut, done = exported(tmp_path), 0, False
    want = [member.content for member in archive.read(path)]
    while not done:
        disk = FaultDisk()
        disk.cut_power_in(cut)
        try:
            take(disk, path)
            done = True
        except PowerCutError:
            disk.power_up(random.Random(cut))
            take(disk, path)
        disk.heal()
        spool = opened(disk)
        found = read_all(spool)
        assert [one for one in found if isinstance(one, SealedBatch)] == [
            one for one in want if isinstance(one, SealedBatch)
        ], cut
        lost = [(one.first, one.last, one.readings) for one in found if isinstance(one, Gap)]
        assert lost == [(20, 22, readings_between(20, 22))], cut
        assert spool.cursor("one", LANE) == CURSOR
        cut += 1
    assert cut > 20


def test_what_a_region_waited_for_before_the_first_batch_becomes_a_gap(tmp_path: Path) -> None:
    path = exported(tmp_path, [batch(number) for number in range(20, LAST + 1)])
    disk = FaultDisk()
    take(disk, path)
    lost = opened(disk).read(LANE, CURSOR + 1)
    assert isinstance(lost, Gap)
    assert (lost.first, lost.last, lost.readings) == (CURSOR + 1, 19, readings_between(CURSOR + 1, 19))


def test_a_lane_with_batches_of_its_own_takes_nothing(tmp_path: Path) -> None:
    path, disk = exported(tmp_path), FaultDisk()
    spool = opened(disk)
    spool.append(batch(1))
    spool.sync()
    spool.close()
    with pytest.raises(StoreError, match="batches of its own, up to 1"):
        take(disk, path)
    spool = opened(disk)
    assert spool.head(LANE) == 1


def test_what_the_archive_says_of_other_lanes_moves_no_cursor(tmp_path: Path) -> None:
    path, disk = tmp_path / "export.tar", FaultDisk()
    place = archive.Position(CURSOR, 100, 0)
    manifest = archive.Manifest("node", 10**18, regions={"one": {LANE: place, "alarm": place}})
    archive.write(path, manifest, [batch(1, "alarm"), batch(2, "alarm")], lambda _: None)
    spool = opened(disk)
    for number in range(1, 4):
        spool.append(batch(number))
    spool.sync()
    spool.close()
    take(disk, path)
    spool = opened(disk)
    assert spool.cursor("one", LANE) == 0, "its own batches were never delivered"
    assert spool.cursor("one", "alarm") == 2


@pytest.mark.parametrize(
    ("settings", "fault"),
    [
        (config(node="other"), "holds batches of node node, and this is node other"),
        (config(segments=2), "lane telemetry: the archive needs"),
    ],
)
def test_an_archive_that_does_not_fit_is_refused_before_anything_is_changed(
    tmp_path: Path, settings: schema.Gateway, fault: str
) -> None:
    path, disk = exported(tmp_path), FaultDisk()
    with pytest.raises((ArchiveError, StoreError), match=fault):
        take(disk, path, settings)
    assert disk.entries == {}


def test_a_ring_just_large_enough_takes_an_archive_without_losing_any_of_it(tmp_path: Path) -> None:
    path = exported(tmp_path)
    segments = 2
    while True:
        disk = FaultDisk()
        try:
            take(disk, path, config(segments))
        except StoreError:
            segments += 1
            continue
        break
    assert segments > 3
    assert read_all(opened(disk, segments=segments)) == [member.content for member in archive.read(path)]


def without_manifest(data: bytes) -> bytes:
    return data[: data.index(b"manifest.json")]


def with_a_byte_changed(data: bytes) -> bytes:
    return data[:700] + bytes([data[700] ^ 1]) + data[701:]


def with_members(data: bytes, change: Callable[[list[tuple[str, bytes]]], list[tuple[str, bytes]]]) -> bytes:
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        members = [(info.name, tar.extractfile(info).read()) for info in tar]  # type: ignore[union-attr]
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for name, content in change(members):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return file.getvalue()


@pytest.mark.parametrize(
    ("damage", "fault"),
    [
        (without_manifest, "has no manifest"),
        (lambda _: b"", "is no export of a spool"),
        (lambda _: b"no archive at all", "is no export of a spool"),
        (with_a_byte_changed, "0000000000000005.batch: "),
        (lambda data: with_members(data, lambda members: members[1:]), "does not hold what its manifest says"),
        (lambda data: with_members(data, lambda members: members[:-1]), "has no manifest"),
        (
            lambda data: with_members(data, lambda members: [members[1], members[0], *members[2:]]),
            "does not follow batch 6",
        ),
        (
            lambda data: with_members(data, lambda members: [(members[1][0], members[0][1]), *members[1:]]),
            "another batch than its name says",
        ),
        (
            lambda data: with_members(data, lambda members: [*members[:-1], (archive.MANIFEST, b"{}")]),
            "its manifest cannot be used",
        ),
        (
            lambda data: data.replace(b'"version": 1', b'"version": 9'),
            "edge-gateway-spool version 9, this program reads 1",
        ),
    ],
)
def test_a_damaged_archive_is_refused_as_a_whole(tmp_path: Path, damage: Callable[[bytes], bytes], fault: str) -> None:
    path, disk = exported(tmp_path), FaultDisk()
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ArchiveError, match=fault):
        take(disk, path)
    assert disk.entries == {}


@pytest.mark.parametrize("length", range(0, 30_000, 1499))
def test_a_truncated_archive_is_refused(tmp_path: Path, length: int) -> None:
    path, disk = exported(tmp_path), FaultDisk()
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(ArchiveError):
        take(disk, path)
    assert disk.entries == {}


def test_an_export_that_fails_leaves_nothing_and_none_is_overwritten(tmp_path: Path) -> None:
    def broken() -> object:
        yield batch(1)
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        exported(tmp_path, broken())  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []
    path = exported(tmp_path)
    before = path.read_bytes()
    with pytest.raises(FileExistsError):
        exported(tmp_path)
    assert path.read_bytes() == before
