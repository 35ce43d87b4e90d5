"""The sinks: every type of value, and NDJSON files that hold each reading once whatever fails."""

from __future__ import annotations

import contextlib
import errno
import random
from pathlib import Path

import pytest

from gateway.batch import envelope
from gateway.errors import StoreError
from gateway.model import BatchId, OpenBatch
from gateway.region.sink.ndjson import NdjsonSink
from tests.support.faultdisk import FaultDisk, PowerCutError
from tests.support.receiving import NOON_NS, Region, StoppedClock, message, sent
from tests.support.spooled import readings_between, readings_of

DAY_NS = 86_400 * 10**9


def lines_of(disk: FaultDisk) -> int:
    return sum(bytes(file.seen).count(b"\n") for path, file in disk.entries.items() if path.suffix == ".ndjson")


def test_every_type_of_value_comes_back_as_it_was(tmp_path) -> None:
    row = {
        "int": 1,
        "big": (1 << 63) - 1,
        "real": 1.0,
        "small": 5e-324,
        "no": False,
        "text": 'a"\n\0𝄞',
        "raw": b"\xff\0",
    }
    open_batch = OpenBatch(BatchId("node", "lane", 1, 1), {"a/b": ([-5], [row])}, len(row), 0, {}, 1, 0)
    with Region(tmp_path) as region:
        region.take(message(envelope.seal(open_batch, "boot")))
        found = region.rows("SELECT field, value, typeof(value), is_bool, time_ns, topic, node FROM reading")
        lines = {line["field"]: line["value"] for line in region.lines()}
    values = {field: (value, kind, is_bool) for field, value, kind, is_bool, *_ in found}
    assert {tuple(rest) for *_, rest in ((*row[:1], row[4:]) for row in found)} == {(-5, "a/b", "node")}
    assert values == {
        "int": (1, "integer", 0),
        "big": ((1 << 63) - 1, "integer", 0),
        "real": (1.0, "real", 0),
        "small": (5e-324, "real", 0),
        "no": (0, "integer", 1),
        "text": ('a"\n\0𝄞', "text", 0),
        "raw": (b"\xff\0", "blob", 0),
    }
    assert lines == {**row, "raw": {"base64": "/wA="}}
    assert lines["no"] is False
    assert isinstance(lines["real"], float)


def test_a_new_file_is_begun_each_day_and_past_the_size(tmp_path) -> None:
    clock = StoppedClock()
    with Region(tmp_path, clock=clock) as region:
        region.ndjson_sink._file_bytes_max = 1
        region.take(sent(1))
        region.take(sent(2))
        clock.ns += DAY_NS
        region.take(sent(3))
        names = sorted(path.name for path in (tmp_path / "ndjson").iterdir())
        assert names == [
            "readings-2025-11-25-0001.ndjson",
            "readings-2025-11-25-0002.ndjson",
            "readings-2025-11-26-0001.ndjson",
        ]
        assert len(region.lines()) == readings_between(1, 3)


def test_what_was_written_without_a_commit_is_cut_off_at_the_start(tmp_path) -> None:
    with Region(tmp_path) as region:
        region.take(sent(1))
        (path,) = (tmp_path / "ndjson").iterdir()
        whole = path.read_bytes()
        path.write_bytes(whole + b'{"half of a li')
        region.restart()
        assert path.read_bytes() == whole
        region.take(sent(2))
        assert len(region.lines()) == readings_between(1, 2)


def test_a_shorter_group_after_one_that_failed_leaves_nothing_of_the_longer_one(tmp_path) -> None:
    with Region(tmp_path) as region:
        database = region.watermarks._db
        database.execute("CREATE TRIGGER no BEFORE INSERT ON reading BEGIN SELECT RAISE(FAIL, 'no'); END")
        with pytest.raises(StoreError):
            region.take(sent(1), sent(2), sent(3))
        database.execute("DROP TRIGGER no")
        region.take(sent(1))
        assert len(region.lines()) == readings_of(1)


def test_a_file_that_was_moved_away_is_not_begun_again_with_a_hole(tmp_path) -> None:
    with Region(tmp_path) as region:
        region.take(sent(1))
        (path,) = (tmp_path / "ndjson").iterdir()
        path.rename(tmp_path / "taken away")
        region.restart()
        region.take(sent(2))
        assert [file.name for file in (tmp_path / "ndjson").iterdir()] == ["readings-2025-11-25-0002.ndjson"]
        assert len(region.lines()) == readings_of(2)


def test_files_of_a_lost_store_are_set_aside_and_not_emptied(tmp_path) -> None:
    with Region(tmp_path) as region:
        region.take(sent(1))
    content = next((tmp_path / "ndjson").iterdir()).read_bytes()
    for number in (1, 2):
        for path in tmp_path.glob("region.sqlite*"):
            path.unlink()
        with Region(tmp_path) as region:
            region.take(sent(1))
        aside = tmp_path / "ndjson" / f"readings-2025-11-25-0001.ndjson.unrecorded-{number}"
        assert aside.read_bytes() == content


def test_a_disk_that_is_full_for_long_leaves_no_trail_of_files(tmp_path) -> None:
    disk = FaultDisk()
    with Region(tmp_path, disk) as region:
        region.take(sent(1))
        for verb, number in (("write", errno.ENOSPC), ("sync", errno.EIO)):
            disk.fail(verb, number, times=20)
            for _ in range(20):
                with pytest.raises(StoreError):
                    region.take(sent(2))
        region.take(sent(2))
        names = sorted(path.name for path in disk.entries)
        assert names == ["readings-2025-11-25-0001.ndjson", "readings-2025-11-25-0002.ndjson"]
        assert lines_of(disk) == readings_between(1, 2) == len(region.rows())


def test_a_sync_that_fails_without_anything_to_write_never_cuts_what_is_committed(tmp_path) -> None:
    disk = FaultDisk()
    with Region(tmp_path, disk) as region:
        region.take(sent(1))
        disk.fail("sync")
        region.take(sent(1))
        disk.heal()
        assert lines_of(disk) == readings_of(1)


@pytest.mark.parametrize("seed", [*range(8), 441])
def test_after_faults_and_power_cuts_at_any_operation_each_committed_reading_is_there_once(
    tmp_path: Path, seed
) -> None:
    chance = random.Random(seed)
    disk, clock = FaultDisk(), StoppedClock()
    sequence = 0
    region = Region(tmp_path, disk, clock)
    for _ in range(6):
        disk.cut_power_in(chance.randrange(1, 16))
        try:
            while True:
                clock.ns += chance.choice((0, 0, DAY_NS))
                if chance.random() < 0.3:
                    disk.fail(chance.choice(("create", "write", "sync", "sync_folder", "truncate")))
                with contextlib.suppress(StoreError):
                    region.take(sent(sequence + 1), sent(sequence + 2))
                    sequence += 2
                    assert lines_of(disk) == readings_between(1, sequence)
        except PowerCutError:
            region.watermarks.close()
            disk.power_up(chance)
        region = Region(tmp_path, disk, clock)
        assert lines_of(disk) == readings_between(1, sequence) == len(region.rows())
    region.close()


def test_a_clock_that_steps_back_a_day_goes_on_in_that_days_file(tmp_path) -> None:
    clock = StoppedClock(NOON_NS)
    with Region(tmp_path, clock=clock) as region:
        region.take(sent(1))
        clock.ns -= DAY_NS
        region.take(sent(2))
        clock.ns += DAY_NS
        region.take(sent(3))
        assert len(region.lines()) == readings_between(1, 3)
        assert isinstance(region.ndjson_sink, NdjsonSink)


@pytest.mark.parametrize("verb", ["write", "sync"])
def test_what_was_not_committed_before_midnight_is_in_the_new_days_file_alone(tmp_path, verb) -> None:
    clock, disk = StoppedClock(), FaultDisk()
    with Region(tmp_path, disk, clock) as region:
        region.take(sent(1))
        disk.fail(verb, errno.ENOSPC, after=verb == "write")
        with pytest.raises(StoreError):
            region.take(sent(2), sent(3))
        clock.ns += DAY_NS
        region.take(sent(2), sent(3))
        assert lines_of(disk) == readings_between(1, 3) == len(region.rows())


def test_a_group_whose_commit_fails_before_midnight_is_in_the_new_days_file_alone(tmp_path) -> None:
    clock, disk = StoppedClock(), FaultDisk()
    with Region(tmp_path, disk, clock) as region:
        region.take(sent(1))
        database = region.watermarks._db
        database.execute("PRAGMA foreign_keys = ON")
        database.execute("CREATE TABLE one (id INTEGER PRIMARY KEY)")
        database.execute("CREATE TABLE other (id REFERENCES one DEFERRABLE INITIALLY DEFERRED)")
        database.execute("CREATE TRIGGER no AFTER INSERT ON reading BEGIN INSERT INTO other VALUES (1); END")
        with pytest.raises(StoreError, match="cannot commit"):
            region.take(sent(2))
        database.execute("DROP TRIGGER no")
        clock.ns += DAY_NS
        region.take(sent(2))
        assert lines_of(disk) == readings_between(1, 2) == len(region.rows())
